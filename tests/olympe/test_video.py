from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Frame
from drone.olympe_source import OlympeSource
from tests.olympe import vmeta_values as expected
from tests.olympe.loopback import IP, Video, wait_until
from tests.olympe.pictures import BLOCK_PX, read_number
from tests.olympe.rtsp import Camera


@contextmanager
def playing(video: Video, **options: object) -> Iterator[OlympeSource]:
    source = OlympeSource(IP, url=video.url, **options)  # type: ignore[arg-type]
    open_patiently(source)
    try:
        yield source
    finally:
        source.close()
    assert source.refs == source.unrefs


def open_patiently(source: OlympeSource, timeout_s: float = 15.0) -> None:
    """Open as the station does, which tries again: a busy machine answers late."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return source.open()
        except SourceError as error:
            if "timed out" not in str(error) or time.monotonic() > deadline_s:
                raise


def next_frame(source: OlympeSource, timeout_s: float = 15.0) -> Frame:
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            frame = source.read(1.0)
        except FrameTimeoutError:
            assert time.monotonic() < deadline_s, f"no frame in {timeout_s} s"
            continue
        assert frame is not None
        return frame


def read_fails(source: OlympeSource) -> bool:
    try:
        source.read(0.3)
    except FrameTimeoutError:
        return True
    return False


def test_numbered_pictures_arrive_in_order_and_whole(video: Video) -> None:
    with playing(video) as source:
        frames = [next_frame(source) for _ in range(60)]
    seen = [read_number(frame.image) for frame in frames]
    assert None not in seen
    # The stream's number and ours differ by a constant: nothing was lost unseen, nothing swapped.
    offsets = {number - frame.number for number, frame in zip(seen, frames, strict=True) if number}
    assert len(offsets) == 1
    times = [frame.captured_ns for frame in frames]
    assert times == sorted(set(times))
    source_times = [frame.source_ns for frame in frames if frame.source_ns is not None]
    assert len(source_times) == 60
    assert source_times == sorted(set(source_times))
    assert frames[0].image.shape == (360, 640, 3)
    assert source.live
    assert source.name == "olympe:127.0.0.1"


def test_colours_are_blue_green_red(start_video: Callable[..., Video]) -> None:
    video = start_video("--pictures", "tests.olympe.pictures:colours")
    with playing(video) as source:
        image = next_frame(source).image
    left, right = image[180, 100].astype(int), image[180, 540].astype(int)
    assert left[0] > 180
    assert left[2] < 60
    assert right[2] > 180
    assert right[0] < 60


def test_metadata_inside_the_stream_becomes_telemetry(start_video: Callable[..., Video]) -> None:
    with playing(start_video("--vmeta")) as source:
        told = next_frame(source).telemetry
    assert told.battery_percent == expected.BATTERY_PERCENT
    assert told.height_m == pytest.approx(expected.GROUND_DISTANCE_M)
    assert told.yaw_deg == pytest.approx(expected.YAW_DEG, abs=0.1)
    assert told.gimbal_pitch_deg == pytest.approx(expected.GIMBAL_PITCH_DEG, abs=0.1)
    assert told.horizontal_fov_deg == pytest.approx(expected.HORIZONTAL_FOV_DEG, abs=0.1)
    assert told.speed_m_s == pytest.approx(expected.SPEED_NORTH_M_S)
    assert told.flying_state == "flying"


def test_the_night_simulator_is_seen_through_the_drones_camera(
    start_video: Callable[..., Video],
) -> None:
    with playing(start_video("--vmeta", "--pictures", "tests.olympe.pictures:night")) as source:
        frames = [next_frame(source) for _ in range(10)]
    assert None not in [read_number(frame.image) for frame in frames]
    below = frames[-1].image[BLOCK_PX:]
    assert below.mean() < 80, "a night"
    assert below.std() > 5, "with something in it"
    assert frames[-1].telemetry.horizontal_fov_deg is not None


def test_a_slow_reader_gets_the_newest_frame_and_no_backlog(video: Video) -> None:
    with playing(video) as source:
        before = next_frame(source)
        time.sleep(1.0)
        after = next_frame(source)
        newest = source.frame_age_s
    assert after.number - before.number > 10
    assert source.dropped >= after.number - before.number - 1
    assert newest is not None


def test_a_wrong_media_name_lists_those_offered(start_video: Callable[..., Video]) -> None:
    video = start_video("--media", "Front camera", "--media", "Thermal blended")
    source = OlympeSource(IP, url=video.url, media_name="Back camera")
    with pytest.raises(
        SourceError, match=r"no media named 'Back camera'.*'Front camera', 'Thermal blended'"
    ):
        source.open()


def test_a_stream_that_freezes_times_out_and_a_new_player_brings_it_back(video: Video) -> None:
    with playing(video) as source:
        next_frame(source)
        video.tell(frozen=True)
        wait_until(lambda: read_fails(source))
        with pytest.raises(FrameTimeoutError, match="the last came"):
            source.read(5.0)
        wait_until(lambda: source.sessions >= 2)
        video.tell(frozen=False)
        frame = next_frame(source)
        assert read_number(frame.image) is not None


def test_a_stream_that_is_killed_comes_back(
    video: Video, start_video: Callable[..., Video]
) -> None:
    with playing(video) as source:
        before = next_frame(source).number
        port = video.port
        video.kill()
        wait_until(lambda: read_fails(source))
        start_video(port=port)
        after = next_frame(source)
        assert after.number > before
        assert read_number(after.image) is not None
        assert source.sessions >= 2


def test_lost_packets_leave_a_rate_but_not_every_picture_whole(video: Video) -> None:
    with playing(video) as source:
        next_frame(source)
        video.tell(loss=0.01)
        frames = [next_frame(source) for _ in range(90)]
        video.tell(loss=0.0)
        assert [f.number for f in frames] == sorted({f.number for f in frames})
        # The next key frame, a second later at most, mends the picture.
        whole = [read_number(next_frame(source).image) for _ in range(60)]
    assert None not in whole[-20:]


@pytest.mark.timeout(400)
def test_memory_is_flat_over_2000_frames(start_video: Callable[..., Video]) -> None:
    video = start_video("--fps", "100")
    with playing(video) as source:
        for _ in range(300):
            next_frame(source)
        before_kib = resident_kib()
        for _ in range(2000):
            next_frame(source)
        grown_kib = resident_kib() - before_kib
    # One picture that is not given back costs 340 KiB: all of them 680 MB.
    assert grown_kib < 20_000


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_camera_that_repeats_begins_anew_for_whoever_joins() -> None:
    args = argparse.Namespace(
        pictures="tests.olympe.pictures:numbered", width=640, height=360, fps=30, vmeta=False,
        repeat=3,
    )  # fmt: skip
    camera = Camera(args)
    first, second, third = (camera.next_units(key=key) for key in (True, False, False))
    assert camera.next_units(key=False) == first
    assert camera.next_units(key=False) == second
    assert camera.next_units(key=True) == first
    assert [any(unit[0] & 31 == 5 for unit in units) for units in (first, second, third)] == [
        True, False, False,
    ]  # fmt: skip
