from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Telemetry
from drone.olympe_player import VideoTiming
from drone.olympe_sdk import SdkFrame
from drone.olympe_source import OlympeSource, olympe_source
from tests.drone.fake_olympe import FakePicture, FakeSdk
from tests.fakes import FakeClock

SDP = "v=0\r\ns=X\r\nm=video 0 RTP/AVP 96\r\ni=Front camera\r\n"
FAST = VideoTiming(
    silence_s=0.15, play_s=1.0, backoff_first_s=0.01, backoff_most_s=0.02, watch_s=0.01
)


class FakeVideo:
    def __init__(self, plays: bool = True) -> None:
        self._plays = plays
        self.give: Callable[[SdkFrame], None] | None = None
        self.destroyed = False

    def play(self, url: str | None = None, **options: Any) -> bool:
        self.give = options["raw_cb"]
        return self._plays

    def stop(self, timeout: float = 0.0) -> bool:
        return True

    def destroy(self) -> None:
        self.destroyed = True


class VideoSdk(FakeSdk):
    def __init__(self, plays: bool = True) -> None:
        super().__init__()
        self._plays = plays
        self.videos: list[FakeVideo] = []

    def video(self) -> FakeVideo:
        self.videos.append(FakeVideo(self._plays))
        return self.videos[-1]


@pytest.fixture
def url() -> Iterator[str]:
    """An RTSP server that only describes itself."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                head = f"RTSP/1.0 200 OK\r\nContent-Length: {len(SDP)}\r\n\r\n"
                connection.sendall((head + SDP).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@contextmanager
def playing(sdk: VideoSdk, url: str, **options: Any) -> Iterator[OlympeSource]:
    timing = options.pop("timing", VideoTiming(silence_s=30.0))
    source = OlympeSource("127.0.0.1", url=url, timing=timing, make_sdk=lambda: sdk, **options)
    source.open()
    try:
        yield source
    finally:
        source.close()


def picture(**says: Any) -> FakePicture:
    return FakePicture(np.full((24, 16), 128, np.uint8), **says)


def give(sdk: VideoSdk, frame: FakePicture) -> None:
    handler = sdk.videos[-1].give
    assert handler is not None
    handler(frame)


def wait_until(reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def test_the_newest_picture_is_read_once(url: str) -> None:
    sdk, told = VideoSdk(), Telemetry(battery_percent=55.0)
    with playing(sdk, url, telemetry=lambda: told) as source:
        pictures = [picture() for _ in range(3)]
        for one in pictures:
            give(sdk, one)
        frame = source.read(1.0)
        assert frame is not None
        assert (frame.number, frame.source_ns) == (2, 5000)
        assert frame.image.shape == (16, 16, 3)
        assert frame.telemetry == told
        assert source.dropped == 2
        with pytest.raises(FrameTimeoutError, match="the last came"):
            source.read(0.05)
    assert all(one.references == 1 for one in pictures)
    assert sdk.videos[0].destroyed
    assert source.read(1.0) is None


def test_a_backlog_shows_in_the_capture_and_ends_with_its_session(url: str) -> None:
    sdk, clock = VideoSdk(), FakeClock()

    def age_ms(source: OlympeSource, late_ms: int) -> int:
        clock.advance(0.5)
        give(sdk, picture(capture_timestamp=clock.now_ns // 1000 - 10**6 - 1000 * late_ms))
        frame = source.read(1.0)
        assert frame is not None
        assert frame.arrived_ns == clock.now_ns
        return round((clock.now_ns - frame.captured_ns) / 1e6)

    with playing(sdk, url, clock=clock) as source:
        assert [age_ms(source, late) for late in (0, 20, 400)] == [0, 20, 400]
    with playing(sdk, url, clock=clock) as source:
        assert age_ms(source, 400) == 0


@pytest.mark.parametrize("flag", ["has_errors", "is_silent"])
def test_a_broken_picture_is_shown_and_marked(url: str, flag: str) -> None:
    sdk = VideoSdk()
    with playing(sdk, url, timing=VideoTiming(silence_s=30.0, broken_s=0.0)) as source:
        for marked in (False, True):
            give(sdk, picture(**{flag: marked}))
            frame = source.read(1.0)
            assert frame is not None
            assert frame.damaged is marked
        assert source.pictures_with_errors == 1


def test_a_silent_player_is_replaced_and_numbers_go_on(url: str) -> None:
    sdk = VideoSdk()
    with playing(sdk, url, timing=FAST) as source:
        give(sdk, picture())
        wait_until(lambda: len(sdk.videos) >= 2 and sdk.videos[1].give is not None)
        assert sdk.videos[0].destroyed
        late = picture()
        first = sdk.videos[0].give
        assert first is not None
        first(late)
        assert late.references == 1, "a player that was given up gives nothing more"
        for _ in itertools.count():
            give(sdk, picture())
            try:
                frame = source.read(0.2)
            except FrameTimeoutError:
                continue
            break
        assert frame is not None
        assert frame.number >= 1


def test_a_player_that_does_not_start_is_told_and_destroyed(url: str) -> None:
    sdk = VideoSdk(plays=False)
    with pytest.raises(SourceError, match="the player does not start"), playing(sdk, url):
        pass
    assert sdk.videos[0].destroyed


def test_a_wrong_media_name_makes_no_player(url: str) -> None:
    sdk = VideoSdk()
    with (
        pytest.raises(SourceError, match="no media named 'Rear'; the drone offers 'Front camera'"),
        playing(sdk, url, media_name="Rear"),
    ):
        pass
    assert sdk.videos == []


def test_a_picture_without_pixels_is_passed_over_and_given_back(url: str) -> None:
    sdk = VideoSdk()
    with playing(sdk, url) as source:
        empty = FakePicture(None)
        give(sdk, empty)
        with pytest.raises(FrameTimeoutError):
            source.read(0.05)
        assert source.pictures_with_errors == 1
        give(sdk, picture())
        assert source.read(1.0) is not None
    assert empty.references == 1


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "expected olympe:ADDRESS"),
        ("1.2.3.4:x", "expected olympe:ADDRESS"),
        ("drone", "is not an IPv4 address"),
    ],
)
def test_a_name_that_cannot_be_is_refused(spec: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        olympe_source(spec)


def test_a_name_gives_the_address() -> None:
    assert olympe_source("192.168.42.1/Thermal blended").name == "olympe:192.168.42.1"
    assert olympe_source("127.0.0.1:8554").name == "olympe:127.0.0.1"
