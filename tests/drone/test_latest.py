from __future__ import annotations

import threading

import pytest

from drone.errors import FrameTimeoutError, SourceError
from drone.latest import LatestFrame
from tests.fakes import make_frame


def test_newest_wins_and_drops_are_counted() -> None:
    slot = LatestFrame("camera")
    for number in range(5):
        slot.put(make_frame(number))
    frame = slot.take(0.0)
    assert frame is not None
    assert frame.number == 4
    assert slot.dropped == 4


def test_a_frame_is_given_once() -> None:
    slot = LatestFrame("camera")
    slot.put(make_frame(0))
    slot.take(0.0)
    with pytest.raises(FrameTimeoutError, match="camera: no frame within"):
        slot.take(0.01)
    assert slot.dropped == 0


def test_end_gives_the_unread_frame_then_none() -> None:
    slot = LatestFrame("camera")
    slot.put(make_frame(7))
    slot.end()
    slot.put(make_frame(8))
    frame = slot.take(0.0)
    assert frame is not None
    assert frame.number == 7
    assert slot.take(0.0) is None
    assert slot.take(0.0) is None


def test_end_with_an_error_raises_it_and_the_first_end_counts() -> None:
    slot = LatestFrame("camera")
    slot.end(SourceError("lens fell off"))
    slot.end()
    for _ in range(2):
        with pytest.raises(SourceError, match="lens fell off"):
            slot.take(0.0)


def test_a_waiting_reader_is_woken_by_a_frame_and_by_the_end() -> None:
    slot = LatestFrame("camera")
    got: list[int | None] = []

    def read() -> None:
        for _ in range(2):
            frame = slot.take(30.0)
            got.append(None if frame is None else frame.number)

    reader = threading.Thread(target=read)
    reader.start()
    slot.put(make_frame(3))
    while not got:
        pass
    slot.end()
    reader.join(30)
    assert got == [3, None]


def test_a_slow_reader_sees_increasing_numbers_and_every_frame_is_accounted_for() -> None:
    slot = LatestFrame("camera")
    total = 300

    def write() -> None:
        for number in range(total):
            slot.put(make_frame(number, size=(8, 8), at=(4, 4)))
        slot.end()

    writer = threading.Thread(target=write)
    writer.start()
    numbers = []
    while (frame := slot.take(30.0)) is not None:
        numbers.append(frame.number)
    writer.join()
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == total - 1
    assert len(numbers) + slot.dropped == total
