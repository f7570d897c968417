from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from drone.errors import SourceError
from drone.olympe_picture import RawSlot, bgr_of_frame, bgr_of_yuv, source_time_ns
from tests.drone.fake_olympe import FakePicture


def test_newest_wins_and_the_replaced_one_is_given_back() -> None:
    slot = RawSlot(first_number=7)
    first, second = FakePicture(), FakePicture()
    slot.put(first)
    slot.put(second)
    assert (first.references, second.references) == (1, 2)
    assert slot.use(0.0, lambda one, _: one.number) == 8
    assert second.references == 1
    assert (slot.dropped, slot.refs, slot.unrefs) == (1, 2, 2)


def test_an_empty_slot_gives_nothing_after_its_wait() -> None:
    assert RawSlot(0).use(0.0, lambda one, _: one) is None


def test_a_picture_is_given_back_when_its_conversion_fails() -> None:
    slot, picture = RawSlot(0), FakePicture()
    slot.put(picture)

    def fail(_one: object, _slot: object) -> None:
        raise SourceError("bad")

    with pytest.raises(SourceError, match="bad"):
        slot.use(0.0, fail)
    assert picture.references == 1
    slot.close()


def test_a_closed_slot_takes_and_keeps_nothing() -> None:
    slot, held, late = RawSlot(0), FakePicture(), FakePicture()
    slot.put(held)
    slot.close()
    slot.put(late)
    assert (held.references, late.references) == (1, 1)
    assert slot.use(5.0, lambda one, _: one) is None
    assert slot.refs == slot.unrefs == 1


def test_closing_waits_for_the_reader_that_uses_a_picture() -> None:
    slot, picture = RawSlot(0), FakePicture()
    slot.put(picture)
    using, finish = threading.Event(), threading.Event()

    def slowly(_one: object, _slot: object) -> None:
        using.set()
        finish.wait(10)

    reader = threading.Thread(target=slot.use, args=(1.0, slowly))
    reader.start()
    assert using.wait(10)
    closer = threading.Thread(target=slot.close)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive(), "its session would be destroyed under the reader"
    finish.set()
    closer.join(10)
    reader.join(10)
    assert not closer.is_alive()
    assert picture.references == 1


def picture_bgr() -> np.ndarray:
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16] = (200, 40, 30)
    image[16:] = (20, 60, 210)
    return image


def i420_of(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420))


def nv12_of(i420: np.ndarray) -> np.ndarray:
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    u, v = i420[height:].reshape(2, height // 2, width // 2)
    return np.vstack((i420[:height], np.dstack((u, v)).reshape(height // 2, width)))


def test_both_layouts_give_the_same_colours() -> None:
    image = picture_bgr()
    i420 = i420_of(image)
    planar = bgr_of_yuv(i420, nv12=False, full_range=False)
    interleaved = bgr_of_yuv(nv12_of(i420), nv12=True, full_range=False)
    assert np.abs(planar.astype(int) - image).max() <= 4
    np.testing.assert_array_equal(planar, interleaved)


def test_a_full_range_picture_keeps_its_darkest_levels() -> None:
    yuv = np.full((48, 32), 128, np.uint8)
    yuv[:32] = np.arange(32, dtype=np.uint8)[None, :]
    bgr = bgr_of_yuv(yuv, nv12=False, full_range=True)
    grey = bgr[0, :, 1].astype(int)
    assert np.abs(grey - np.arange(32)).max() <= 1
    assert len(set(bgr_of_yuv(yuv, nv12=False, full_range=False)[0, :16, 1])) == 1


def test_the_picture_is_copied_out_of_the_sdk_s_memory() -> None:
    yuv = i420_of(picture_bgr())
    frame = FakePicture(yuv)
    bgr = bgr_of_frame(frame, frame.info())
    before = bgr.copy()
    yuv[:] = 0
    np.testing.assert_array_equal(bgr, before)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(SourceError, match="without pixels"):
        bgr_of_frame(FakePicture(None), {})
    with pytest.raises(SourceError, match=r"shape \(10, 10\)"):
        bgr_of_yuv(np.zeros((10, 10), np.uint8), nv12=False, full_range=False)
    odd = {"raw": {"frame": {"format": "RGB24", "info": {}}}}
    with pytest.raises(SourceError, match="layout RGB24"):
        bgr_of_frame(FakePicture(np.zeros((12, 8), np.uint8)), odd)


def test_the_drone_s_capture_time_comes_first() -> None:
    assert source_time_ns({"capture_timestamp": 7, "ntp_raw_timestamp": 5}) == 7000
    assert source_time_ns({"capture_timestamp": 0, "ntp_raw_timestamp": 5}) == 5000
    assert source_time_ns({}) is None
