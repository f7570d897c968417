"""Latency and recovery of the Parrot drone on loopback, against the real SDK.

Run `python -m tests.olympe.bench_loopback` in an environment with the `olympe` extra. The drone
and its camera are two other processes of this machine, whose monotonic clock all share: a time is
that of the picture's arrival in this process, and of the command's decoding at the device.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drone.control import RateCommand, VehicleControl
from drone.errors import FrameTimeoutError
from drone.frame import Frame
from drone.olympe_command import PilotingLimits
from drone.olympe_drone import OlympeDrone
from drone.olympe_source import OlympeSource
from drone.sender import SenderProcess
from exporter.runtime.open import open_backend
from model.geometry import Box
from model.tracker import Tracker, TrackResult
from tests.olympe.loopback import IP, Device, Video
from tests.olympe.pictures import TARGET

PCMD = "ardrone3.Piloting.PCMD"
FULL_YAW_DEG_S = 40.0
# Each frame commands another yaw, so that a command tells which frame it answers.
YAWS = 101


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def arrival_ns(frame: Frame) -> int:
    return frame.captured_ns if frame.arrived_ns is None else frame.arrived_ns


def next_frame(source: OlympeSource) -> Frame:
    while True:
        try:
            frame = source.read(1.0)
        except FrameTimeoutError:
            continue
        assert frame is not None
        return frame


def follow(
    source: OlympeSource,
    control: VehicleControl,
    device: Device,
    seconds: float,
    work: Callable[[Frame], object] = lambda _frame: None,
    after: Callable[[], object] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Work on each frame and answer it with a command; `after` runs once that is out.

    Returns:
        frame → device and frame → read, ms.
    """
    mark = device.mark()
    asked: list[tuple[int, int]] = []
    read_ms: list[float] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        frame = next_frame(source)
        read_ms.append((time.monotonic_ns() - arrival_ns(frame)) / 1e6)
        yaw = frame.number % YAWS - YAWS // 2
        rate = yaw * FULL_YAW_DEG_S / 100
        work(frame)
        control.send(RateCommand(yaw_deg_s=rate, issued_ns=time.monotonic_ns()))
        asked.append((arrival_ns(frame), yaw))
        after()
    time.sleep(0.1)
    # A yaw comes again after 101 frames; a frame whose command was replaced before it went out
    # must not be found in that one.
    most_ns = 1_000_000_000
    commands = device.commands(PCMD, since=mark)
    latency_ms = []
    for arrived_ns, yaw in asked:
        for line in commands:
            if 0 < line["ns"] - arrived_ns < most_ns and line["args"]["yaw"] == yaw:
                latency_ms.append((line["ns"] - arrived_ns) / 1e6)
                break
    say(f"frames answered: {len(asked)}, found at the device: {len(latency_ms)}")
    return latency_ms, read_ms


def zero_ms(device: Device, mark: int, since_ns: int) -> float:
    """From `since_ns` to the first zero command at the device after it, in ms."""

    def wanted(line: dict[str, Any]) -> bool:
        zero = line.get("name") == PCMD and line["args"]["yaw"] == 0
        return bool(zero and line["ns"] > since_ns)

    return float(device.wait(wanted, since=mark)["ns"] - since_ns) / 1e6


def expiry_ms(drone: OlympeDrone, device: Device) -> float:
    """The follower dies after a last command: when does the device hear zero?"""
    mark = device.mark()
    issued_ns = time.monotonic_ns()
    drone.control.send(RateCommand(yaw_deg_s=4.0, issued_ns=issued_ns))
    moving_ns = device.wait_for(PCMD, since=mark, yaw=10)["ns"]
    return zero_ms(device, mark, moving_ns) + (moving_ns - issued_ns) / 1e6


def frozen_ms(drone: OlympeDrone, device: Device, video: Video) -> float:
    """The picture freezes while a follower answers frames: last frame → zero at the device."""
    mark = device.mark()
    newest_ns = 0
    for answered in itertools.count():
        if answered == 10:
            video.tell(frozen=True)
        try:
            frame = drone.source.read(1.0)
        except FrameTimeoutError:
            if answered <= 10:
                continue
            break
        assert frame is not None
        newest_ns = arrival_ns(frame)
        drone.control.send(RateCommand(yaw_deg_s=4.0, issued_ns=newest_ns))
    return zero_ms(device, mark, newest_ns)


def back_s(drone: OlympeDrone, restore: Callable[[], None]) -> float:
    """From the return of the source to the first frame, in s."""
    restore()
    started_ns = time.monotonic_ns()
    while True:
        frame = next_frame(drone.source)
        if arrival_ns(frame) > started_ns:
            return (arrival_ns(frame) - started_ns) / 1e9


def row(name: str, values: list[float], unit: str) -> None:
    median, p99 = percentile(values, 0.5), percentile(values, 0.99)
    say(f"{name:<44} median {median:8.1f} {unit}  p99 {p99:8.1f} {unit}  n {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the latency run")
    parser.add_argument("--repeats", type=int, default=5, help="of each fault")
    parser.add_argument("--model", type=Path, help="default: the one that mlkd serve takes")
    parser.add_argument("--only-chain", action="store_true", help="leave out parts and faults")
    args = parser.parse_args()
    device, videos = Device(), list[Video]()
    try:
        if not args.only_chain:
            parts_and_faults(args, device, videos)
            device.forget()
        whole_chain(device, videos, args.seconds, args.model)
    finally:
        for each in (device, *videos):
            each.kill()


def parts_and_faults(args: argparse.Namespace, device: Device, videos: list[Video]) -> None:
    """Without a tracker: latencies, and what follows a fault."""
    video = Video("--vmeta")
    videos.append(video)
    limits = PilotingLimits(100, 100, 100, 100)
    with OlympeDrone(IP, url=video.url, limits=limits) as drone:
        for _ in range(30):
            next_frame(drone.source)
        latency_ms, read_ms = follow(drone.source, drone.control, device, args.seconds)
        row("frame arrival → BGR frame in hand", read_ms, "ms")
        row("frame arrival → command at the device", latency_ms, "ms")
        row("last command → zero at the device", repeat(args, expiry_ms, drone, device), "ms")
        frozen, thawed, killed = [], [], []
        for _ in range(args.repeats):
            frozen.append(frozen_ms(drone, device, video))
            time.sleep(4.0)
            thawed.append(back_s(drone, lambda: video.tell(frozen=False)))
        row("frozen picture: last frame → zero", frozen, "ms")
        row("frozen picture: thawed → first frame", thawed, "s ")
        for _ in range(args.repeats):
            port = videos[-1].port
            videos[-1].kill()
            time.sleep(4.0)
            killed.append(back_s(drone, lambda at=port: videos.append(Video(port=at))))  # type: ignore[misc]
        row("killed server: listening again → first frame", killed, "s ")


def whole_chain(device: Device, videos: list[Video], seconds: float, model: Path | None) -> None:
    """As the service flies: 720p pictures, the tracker, commands from their own process."""
    videos.append(Video("--pictures", "tests.olympe.pictures:parked", "--repeat", "60"))
    source = OlympeSource(IP, url=videos[-1].url)
    backend = open_backend(model, "auto")
    say(f"engine: {backend.name}")
    tracker = Tracker(backend)
    options = {"ip": IP, "limits": {"yaw_percent": 100}}
    sender = SenderProcess("drone.olympe_vehicle:open_vehicle", options)
    sender.open(timeout_s=60.0)
    source.open()
    try:
        image = next_frame(source).image
        height, width = image.shape[:2]
        x, y, w, h = TARGET
        state = tracker.init(image, Box(x * width, y * height, w * width, h * height))

        track_ms: list[float] = []
        unlearned: list[tuple[TrackResult, Frame]] = []

        def track(frame: Frame) -> None:
            nonlocal state
            began_ns = time.monotonic_ns()
            state, result = tracker.answer(state, frame.image)
            track_ms.append((time.monotonic_ns() - began_ns) / 1e6)
            unlearned.append((result, frame))

        def learn() -> None:
            nonlocal state
            for result, frame in unlearned:
                state = tracker.learn(state, result, frame.image)
            unlearned.clear()

        follow(source, sender, device, 2.0, track, learn)
        latency_ms, _ = follow(source, sender, device, seconds, track, learn)
        row("frame in hand → box", track_ms, "ms")
        row(f"frame → tracker → sender process → device, {width}x{height}", latency_ms, "ms")
    finally:
        source.close()
        sender.close()
        backend.close()


def repeat(
    args: argparse.Namespace,
    measure: Callable[[OlympeDrone, Device], float],
    drone: OlympeDrone,
    device: Device,
) -> list[float]:
    return [measure(drone, device) for _ in range(args.repeats)]


if __name__ == "__main__":
    main()
