from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Frame
from drone.video_live import LiveTiming, LiveVideoSource, rtsp_source, without_password
from tests.drone.media import write_audio_only
from tests.olympe.pictures import read_number

REPOSITORY = Path(__file__).parents[2]
QUICK = LiveTiming(connect_s=20.0, silence_s=1.0, backoff_first_s=0.1, backoff_most_s=0.2)
GIVE_UP_S = 60.0


class Camera:
    """An RTSP camera on loopback whose pictures carry their number."""

    def __init__(self, port: int = 0) -> None:
        size = ["--width", "640", "--height", "160", "--fps", "20"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.olympe.rtsp", "--port", str(port), *size],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["ready"])
        self.url = f"rtsp://127.0.0.1:{self.port}/live"

    def say(self, **change: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(change) + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera()
    yield camera
    camera.kill()


def patiently(source: LiveVideoSource) -> Frame:
    """Read on over timeouts until a frame comes."""
    until = time.monotonic() + GIVE_UP_S
    while True:
        try:
            frame = source.read(0.5)
        except FrameTimeoutError:
            assert time.monotonic() < until, "no frame came back"
            continue
        assert frame is not None
        return frame


def until_silent(source: LiveVideoSource) -> str:
    """Read on until the source says that nothing comes; give its words."""
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until:
        try:
            source.read(0.5)
        except FrameTimeoutError as silence:
            return str(silence)
    raise AssertionError("the source never fell silent")


def test_frames_arrive_in_order_and_whole(camera: Camera) -> None:
    source = rtsp_source(camera.url, timing=QUICK)
    source.open()
    frames = [patiently(source) for _ in range(10)]
    source.close()
    numbers = [f.number for f in frames]
    assert numbers == sorted(set(numbers))
    marks = [read_number(f.image) for f in frames]
    assert None not in marks
    gaps = [f.number - frames[0].number for f in frames]
    assert [m - marks[0] for m in marks] == gaps  # type: ignore[operator]
    assert frames[0].image.shape == (160, 640, 3)
    assert all(a.captured_ns < b.captured_ns for a, b in pairwise(frames))
    assert source.read(0.1) is None


def test_a_slow_reader_gets_the_newest_frame(camera: Camera) -> None:
    source = rtsp_source(camera.url, timing=QUICK)
    source.open()
    first = patiently(source)
    while source.dropped < 5:
        time.sleep(0.02)
    late = patiently(source)
    source.close()
    assert late.number - first.number > 5
    assert read_number(late.image) is not None


def test_a_frozen_stream_times_out_and_comes_back(camera: Camera) -> None:
    source = rtsp_source(camera.url, timing=QUICK)
    source.open()
    before = patiently(source)
    camera.say(frozen=True)
    assert "no frame within" in until_silent(source)
    camera.say(frozen=False)
    after = patiently(source)
    source.close()
    assert after.number > before.number


def test_a_killed_camera_is_connected_to_again(camera: Camera) -> None:
    source = rtsp_source(camera.url, timing=QUICK)
    source.open()
    before = patiently(source)
    camera.kill()
    until_silent(source)
    again = Camera(camera.port)
    try:
        after = patiently(source)
    finally:
        source.close()
        again.kill()
    assert after.number > before.number
    assert source.reconnects > 0


def test_nobody_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    source = rtsp_source(f"rtsp://pilot:secret@127.0.0.1:{port}/live", timing=QUICK)
    with pytest.raises(
        SourceError, match=r"cannot connect .*refused.*expected a running camera"
    ) as no:
        source.open()
    assert "secret" not in str(no.value)
    assert source.read(0.1) is None


def test_somebody_who_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        timing = LiveTiming(connect_s=0.3, silence_s=0.3)
        source = rtsp_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/live", timing=timing)
        with pytest.raises(SourceError, match="cannot connect"):
            source.open()


def test_a_stream_without_video_is_refused(tmp_path: Path) -> None:
    sound = write_audio_only(tmp_path / "a.mp4")

    def connect(_: LiveTiming) -> object:
        import av

        return av.open(str(sound))

    source = LiveVideoSource("radio", connect, QUICK)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="radio: the stream holds no video"):
        source.open()


def test_closing_twice_and_before_opening() -> None:
    source = rtsp_source("rtsp://127.0.0.1:9/live")
    source.close()
    source.close()
    assert source.read(0.0) is None


def test_passwords_are_hidden() -> None:
    assert without_password("rtsp://a:b@h:1/x@y") == "rtsp://a:***@h:1/x@y"
    assert without_password("rtsp://a:b:c@d@h/x") == "rtsp://a:***@h/x"
    assert without_password("rtsp://h:554/x") == "rtsp://h:554/x"
