from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.evaluation.box_files import Float64
from model.evaluation.darkened import DarkenedFrames, darken_sequence, scene_of
from model.evaluation.datasets import read_dataset
from model.evaluation.sequences import (
    DARKENED,
    DAY,
    NIGHT,
    condition_of,
    find_video_sequences,
    read_video_sequence,
)

MakeVideo = Callable[[Path, int], Float64]


def test_a_folder_of_sets(tmp_path: Path, make_video: MakeVideo) -> None:
    truth = make_video(tmp_path / "DTB70" / "Car", 6)
    make_video(tmp_path / "UAVDark_x" / "walker", 4)
    day, night = find_video_sequences(tmp_path)
    assert (day.dataset, day.name, day.condition, len(day)) == ("DTB70", "Car", DAY, 6)
    assert (night.dataset, night.condition) == ("UAVDark_x", NIGHT)
    assert np.array_equal(day.truth, truth)
    frames = list(day.frames)
    assert len(frames) == 6
    assert frames[0].shape == (240, 320, 3)
    assert frames[0][62, 72].mean() > 150
    assert frames[0][5, 5].mean() < 60


def test_attributes_of_a_plain_video(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a", 3)
    (tmp_path / "a" / "attributes.txt").write_text("SV, OCC\nIV\n")
    assert read_video_sequence(tmp_path / "a").attributes == {"SV", "OCC", "IV"}
    (tmp_path / "a" / "attributes.txt").write_text("SV\nDARK\n")
    with pytest.raises(InputError, match=r"attributes\.txt, line 2: expected some of .*'DARK'"):
        read_video_sequence(tmp_path / "a")


def test_two_sequences_of_one_name_are_refused(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "one" / "set" / "a", 3)
    make_video(tmp_path / "two" / "set" / "a", 3)
    with pytest.raises(InputError, match=r"two/set/a/groundtruth\.txt: .* than set/a, found .*one"):
        read_dataset("videos", tmp_path)


def test_reading_twice_gives_the_same_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a", 3)
    sequence = read_video_sequence(tmp_path / "a")
    for first, second in zip(sequence.frames, sequence.frames, strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", ["UAVDark135", "uavdark_helper", "DarkTrack2021", "NAT2021L"])
def test_night_sets(name: str) -> None:
    assert condition_of(name) == NIGHT
    assert condition_of("DTB70") == DAY


def test_what_is_missing_is_named(tmp_path: Path, make_video: MakeVideo) -> None:
    with pytest.raises(InputError, match="expected a folder of sequences, found nothing"):
        find_video_sequences(tmp_path / "none")
    with pytest.raises(InputError, match=r"video\.mp4 and groundtruth\.txt"):
        find_video_sequences(tmp_path)
    make_video(tmp_path / "a", 3)
    (tmp_path / "a" / "other.avi").write_bytes(b"x")
    with pytest.raises(InputError, match=r"one video, found other\.avi, video\.mp4"):
        read_video_sequence(tmp_path / "a")


def test_a_broken_video_is_named(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a", 3)
    (tmp_path / "a" / "video.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"video\.mp4: expected a video"):
        list(read_video_sequence(tmp_path / "a").frames)


def test_a_target_absent_at_first_is_refused(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a", 3)
    (tmp_path / "a" / "groundtruth.txt").write_text("nan,nan,nan,nan\n1,2,3,4\n1,2,3,4\n")
    with pytest.raises(
        InputError, match=r"groundtruth\.txt, line 1: expected a target in the first frame"
    ):
        _ = read_video_sequence(tmp_path / "a").first_box


def test_darkening_is_fixed_by_seed_and_name(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "set" / "a", 3)
    make_video(tmp_path / "set" / "b", 3)
    first, second = find_video_sequences(tmp_path)
    dark = darken_sequence(first, 1)
    assert dark.condition == DARKENED
    assert isinstance(dark.frames, DarkenedFrames)
    assert dark.frames.scene == scene_of(first, 1)
    assert scene_of(first, 1) != scene_of(first, 2)
    assert scene_of(first, 1) != scene_of(second, 1)
    once, again = list(dark.frames), list(dark.frames)
    assert all(np.array_equal(x, y) for x, y in zip(once, again, strict=True))
    assert not np.array_equal(once[0], once[1])
    day = next(iter(first.frames))
    assert once[0][62, 72].mean() < 0.7 * day[62, 72].mean()


def test_real_night_is_left_as_it_is(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "UAVDark135" / "a", 3)
    sequence = find_video_sequences(tmp_path)[0]
    assert darken_sequence(sequence, 1) is sequence
