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
from typing import Any

from drone.control import RateCommand
from drone.errors import FrameTimeoutError
from drone.frame import Frame
from drone.olympe_command import PilotingLimits
from drone.olympe_drone import OlympeDrone
from tests.olympe.loopback import IP, Device, Video

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


def next_frame(drone: OlympeDrone) -> Frame:
    while True:
        try:
            frame = drone.source.read(1.0)
        except FrameTimeoutError:
            continue
        assert frame is not None
        return frame


def follow(drone: OlympeDrone, device: Device, seconds: float) -> tuple[list[float], list[float]]:
    """Answer each frame with a command; returns (frame → device, frame → read) in ms."""
    mark = device.mark()
    asked: list[tuple[int, int]] = []
    read_ms: list[float] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        frame = next_frame(drone)
        read_ms.append((time.monotonic_ns() - frame.captured_ns) / 1e6)
        yaw = frame.number % YAWS - YAWS // 2
        rate = yaw * FULL_YAW_DEG_S / 100
        drone.control.send(RateCommand(yaw_deg_s=rate, issued_ns=time.monotonic_ns()))
        asked.append((frame.captured_ns, yaw))
    time.sleep(0.1)
    # A yaw comes again after 101 frames; a frame whose command was replaced before it went out
    # must not be found in that one.
    most_ns = 1_000_000_000
    commands = device.commands(PCMD, since=mark)
    latency_ms = []
    for captured_ns, yaw in asked:
        for line in commands:
            if 0 < line["ns"] - captured_ns < most_ns and line["args"]["yaw"] == yaw:
                latency_ms.append((line["ns"] - captured_ns) / 1e6)
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
        newest_ns = frame.captured_ns
        drone.control.send(RateCommand(yaw_deg_s=4.0, issued_ns=newest_ns))
    return zero_ms(device, mark, newest_ns)


def back_s(drone: OlympeDrone, restore: Callable[[], None]) -> float:
    """From the return of the source to the first frame, in s."""
    restore()
    started_ns = time.monotonic_ns()
    while True:
        frame = next_frame(drone)
        if frame.captured_ns > started_ns:
            return (frame.captured_ns - started_ns) / 1e9


def row(name: str, values: list[float], unit: str) -> None:
    median, p99 = percentile(values, 0.5), percentile(values, 0.99)
    say(f"{name:<44} median {median:8.1f} {unit}  p99 {p99:8.1f} {unit}  n {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the latency run")
    parser.add_argument("--repeats", type=int, default=5, help="of each fault")
    args = parser.parse_args()
    device, video = Device(), Video("--vmeta")
    videos = [video]
    limits = PilotingLimits(100, 100, 100, 100)
    try:
        with OlympeDrone(IP, url=video.url, limits=limits) as drone:
            for _ in range(30):
                next_frame(drone)
            latency_ms, read_ms = follow(drone, device, args.seconds)
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
    finally:
        for each in (device, *videos):
            each.kill()


def repeat(
    args: argparse.Namespace,
    measure: Callable[[OlympeDrone, Device], float],
    drone: OlympeDrone,
    device: Device,
) -> list[float]:
    return [measure(drone, device) for _ in range(args.repeats)]


if __name__ == "__main__":
    main()
