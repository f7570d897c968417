from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from model.errors import InputError
from model.evaluation.box_files import Float64
from model.evaluation.data_check import check_dataset, read_known
from model.evaluation.datasets import read_dataset
from tests.model.evaluation.layouts import MakePictures, put, put_boxes


@pytest.fixture
def night_set(tmp_path: Path, make_pictures: MakePictures) -> Path:
    for name in ("car1", "car2", "extra"):
        truth = make_pictures(tmp_path / "set" / "data_seq" / name)
        put_boxes(tmp_path / "set" / "anno" / f"{name}.txt", truth)
    known = "sequence,frames,x,y,w,h\ncar1,5,60,50,24,24\ncar2,9,66,50,24,24\ngone,4,1,1,9,9\n"
    put(tmp_path / "known.csv", known)
    return tmp_path / "set"


def test_a_copy_is_compared_with_what_is_known(tmp_path: Path, night_set: Path) -> None:
    count, findings = check_dataset("UAVDark135", night_set, read_known(tmp_path / "known.csv"))
    assert count == 3
    assert [(f.kind, f.sequence) for f in findings] == [
        ("odd", "car2"),
        ("odd", "car2"),
        ("missing", "gone"),
        ("odd", "extra"),
    ]
    assert "5 frames: expected 9" in findings[0].text
    assert "first box 60,50,24,24: expected 66,50,24,24" in findings[1].text


def test_what_is_odd_is_found(night_set: Path) -> None:
    put(night_set / "anno" / "car1.txt", "60,50,24,24\n1,2,nan,4\n5,5,-3,4\n0,0,0,0\n900,5,4,4\n")
    put(night_set / "anno" / "car2.txt", "nan,nan,nan,nan\n1,1,9,9\n1,1,9,9\n1,1,9,9\n1,1,9,9\n")
    for path in (night_set / "data_seq" / "extra").iterdir():
        path.unlink()
    _, findings = check_dataset("UAVDark135", night_set)
    texts = {(f.sequence, f.kind): f.text for f in findings}
    assert len(findings) == 5
    assert "expected pictures, found none" in texts["extra", "missing"]
    assert "car2.txt, line 1: expected a target in the first frame" in texts["car2", "missing"]
    odd = " | ".join(f.text for f in findings if f.sequence == "car1")
    assert "line 2: some of the four values are NaN" in odd
    assert "line 3: width or height of 0 or below" in odd
    assert "line 5: boxes wholly outside" in odd


def test_every_picture_is_looked_at(night_set: Path) -> None:
    pictures = night_set / "data_seq"
    (pictures / "car1" / "00003.jpg").write_bytes(b"")
    (pictures / "car2" / "00004.jpg").rename(pictures / "car2" / "00009.jpg")
    (pictures / "extra" / "00006.jpg").write_bytes((pictures / "extra/00001.jpg").read_bytes())
    (pictures / "nobody").mkdir()
    (pictures / "nobody" / "00001.jpg").write_bytes(b"")
    _, findings = check_dataset("UAVDark135", night_set)
    assert [(f.kind, f.sequence) for f in findings] == [
        ("missing", "car1"),
        ("odd", "car2"),
        ("odd", "extra"),
        ("odd", "nobody"),
    ]
    assert "00003.jpg: expected a picture, found something else" in findings[0].text
    assert findings[1].text.endswith("gaps at 4, 6")
    assert findings[2].text == "1 more pictures than boxes: the rest is not used"
    assert findings[3].text.endswith("nobody: pictures without boxes")


def test_sets_that_share_pictures_have_some_to_spare(
    tmp_path: Path, make_pictures: MakePictures
) -> None:
    for name in ("bike1", "boat1"):
        truth = make_pictures(tmp_path / "data_seq" / "UAV123" / name, "%06d.jpg")
    put_boxes(tmp_path / "anno" / "UAV20L" / "bike1.txt", truth[:4])
    assert check_dataset("UAV20L", tmp_path) == (1, [])


def test_folders_without_boxes_are_told(tmp_path: Path, make_pictures: MakePictures) -> None:
    put_boxes(tmp_path / "Car2" / "groundtruth_rect.txt", make_pictures(tmp_path / "Car2" / "img"))
    make_pictures(tmp_path / "Girl1" / "img")
    _, findings = check_dataset("DTB70", tmp_path)
    assert [(f.kind, f.sequence) for f in findings] == [("odd", "Girl1")]


def test_plain_videos_are_checked(
    tmp_path: Path, make_video: Callable[[Path, int], Float64]
) -> None:
    for name in ("fine", "long", "short", "broken"):
        make_video(tmp_path / "set" / name, 5)
    put(tmp_path / "set" / "long" / "groundtruth.txt", "60,50,24,24\n" * 4)
    put(tmp_path / "set" / "short" / "groundtruth.txt", "60,50,24,24\n" * 6)
    put(tmp_path / "set" / "broken" / "groundtruth.txt", "60,50,24\n")
    count, findings = check_dataset("videos", tmp_path)
    assert count == 4
    assert [(f.kind, f.sequence) for f in findings] == [
        ("missing", "set/broken"),
        ("odd", "long"),
        ("missing", "short"),
    ]
    assert "5 frames decode: expected 6" in findings[2].text


def test_a_video_without_a_frame_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "a"
    folder.mkdir(parents=True)
    put(folder / "groundtruth.txt", "60,50,24,24\n" * 4)
    path = folder / "video.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240)).release()
    _, findings = check_dataset("videos", tmp_path)
    assert [(f.kind, f.text) for f in findings] == [
        ("missing", f"{path}: expected 4 frames, found none")
    ]


def test_halves_of_plain_sequences_are_told(
    tmp_path: Path, make_video: Callable[[Path, int], Float64]
) -> None:
    for name in ("whole", "no-video", "no-boxes"):
        make_video(tmp_path / "set" / name, 3)
    (tmp_path / "set" / "no-video" / "video.mp4").unlink()
    (tmp_path / "set" / "no-boxes" / "groundtruth.txt").unlink()
    _, findings = check_dataset("videos", tmp_path)
    assert [(f.kind, f.sequence) for f in findings] == [
        ("missing", "set/no-video"),
        ("odd", "set/no-boxes/video.mp4"),
    ]
    with pytest.raises(InputError, match=r"no-video: expected a video .*found none"):
        read_dataset("videos", tmp_path)


def test_known_files_are_checked(tmp_path: Path) -> None:
    put(tmp_path / "k.csv", "name,frames\n")
    with pytest.raises(InputError, match="line 1: expected sequence,frames,x,y,w,h"):
        read_known(tmp_path / "k.csv")
    put(tmp_path / "k.csv", "sequence,frames,x,y,w,h\na,5,1,2,3,4\nb,5,1,2\n")
    with pytest.raises(InputError, match="line 3: expected a name and five numbers"):
        read_known(tmp_path / "k.csv")
    (tmp_path / "k.csv").write_bytes(b"\xef\xbb\xbfsequence,frames,x,y,w,h\r\na,5,1,2,3,4\r\n")
    assert read_known(tmp_path / "k.csv")["a"].frames == 5
    with pytest.raises(InputError, match=r"none\.csv: expected a text file, found nothing"):
        read_known(tmp_path / "none.csv")


@pytest.mark.data
@pytest.mark.parametrize(
    ("stem", "sequences", "frames"),
    [
        ("UAVDark135", 135, 125466),
        ("DarkTrack2021", 110, 100421),
        ("NAT2021", 180, 140815),
        ("NAT2021L", 23, 53564),
        ("UAVDark70", 70, 66429),
    ],
)
def test_what_is_known_of_the_night_sets(
    shared: Path, stem: str, sequences: int, frames: int
) -> None:
    known = read_known(shared / "data" / "ope-oracle" / "night-init-boxes" / f"{stem}.csv")
    assert len(known) == sequences
    assert sum(k.frames for k in known.values()) == frames
