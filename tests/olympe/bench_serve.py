"""How soon the loopback drone hears zeros when a part of the service fails or is told to stop.

Run `python -m tests.olympe.bench_serve` in an environment with the `olympe` extra. Times are
taken from the flight's own log (capture of the last box that commanded) to the decoding of the
first zero command at the device; all processes share the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.olympe.bench_loopback import row
from tests.olympe.loopback import IP, Device, Video, wait_until
from tests.olympe.service import PCMD, Service, comes_to_rest, is_right, is_zero

FAULTS = ("override", "killed", "stalled", "frozen", "cut")
SIZE = (640, 360)


class Bench:
    """A service that follows the parked car."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.folder = Path(tempfile.mkdtemp())
        self.videos = [self._video(0)]
        self.service = Service(f"olympe:{IP}:{self.videos[0].port}", self.folder)
        self._mark = device.mark()
        self.service.follow(SIZE)
        self.wait_for_turning()

    def _video(self, port: int) -> Video:
        pictures = ("--pictures", "tests.olympe.pictures:parked")
        return Video("--width", str(SIZE[0]), "--height", str(SIZE[1]), *pictures, port=port)

    def restart_video(self) -> None:
        self.videos.append(self._video(self.videos[-1].port))

    def wait_for_turning(self) -> None:
        self.device.wait(is_right, 60.0, self._mark)
        time.sleep(1.0)

    def again(self) -> None:
        wait_until(lambda: self.service.ask("/api/status")["state"] == "TRACKING", 60.0)
        self._mark = self.device.mark()
        self.service.ask("/api/follow", {"level": "CAMERA"})
        self.wait_for_turning()

    def zero_ms(self, fault: Callable[[], object]) -> float:
        """From the capture of the last box that commanded to the first zero after its command."""
        mark = self.device.mark()
        self.device.wait(is_right, 60.0, mark)
        fault()
        assert comes_to_rest(self.device, mark)
        heard = self.device.commands(PCMD, mark)
        moves = [index for index, line in enumerate(heard) if is_right(line)]
        zero_ns = int(heard[moves[-1] + 1]["ns"])
        last_ns = max(c for c in self._commanding() if c < zero_ns)
        return (zero_ns - last_ns) / 1e6

    def _commanding(self) -> list[int]:
        tracks = self.folder.glob("*/track.jsonl")
        newest = max(tracks, key=lambda path: path.parent.stat().st_mtime)
        lines: list[dict[str, Any]] = []
        for text in newest.read_text(encoding="utf-8").splitlines():
            lines.append(json.loads(text))
        return [line["captured_ns"] for line in lines if (line["command"] or {}).get("yaw_deg_s")]

    def close(self) -> None:
        self.service.end()
        for video in self.videos:
            video.kill()
        self.device.forget()


def override_ms(bench: Bench) -> float:
    """From the request over HTTP to the first zero."""
    mark, asked_ns = bench.device.mark(), time.monotonic_ns()
    bench.service.ask("/api/follow/override", {"source": "key"})
    first = bench.device.wait(lambda e: is_zero(e) and e["ns"] > asked_ns, 10.0, mark)
    time.sleep(1.5)
    return float(first["ns"] - asked_ns) / 1e6


def measure(bench: Bench, fault: str) -> float:
    process = bench.service.process
    if fault == "override":
        return override_ms(bench)
    if fault == "killed":
        return bench.zero_ms(process.kill)
    if fault == "stalled":
        took_ms = bench.zero_ms(lambda: process.send_signal(signal.SIGSTOP))
        process.send_signal(signal.SIGCONT)
        return took_ms
    if fault == "frozen":
        took_ms = bench.zero_ms(lambda: bench.videos[-1].tell(frozen=True))
        bench.videos[-1].tell(frozen=False)
        return took_ms
    took_ms = bench.zero_ms(bench.videos[-1].kill)
    bench.restart_video()
    return took_ms


NAMES = {
    "override": "override over HTTP → zero",
    "killed": "service killed: last box → zero",
    "stalled": "service stalled: last box → zero",
    "frozen": "video frozen: last box → zero",
    "cut": "video server killed: last box → zero",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", nargs="*", metavar="FAULT", help=f"{', '.join(FAULTS)}; all")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    device = Device()
    try:
        for fault in args.fault or FAULTS:
            took_ms: list[float] = []
            bench = Bench(device)
            for index in range(args.repeats):
                if index and fault == "killed":
                    bench.close()
                    bench = Bench(device)
                elif index:
                    bench.again()
                took_ms.append(measure(bench, fault))
            bench.close()
            row(NAMES[fault], took_ms, "ms")
    finally:
        device.kill()


if __name__ == "__main__":
    main()
