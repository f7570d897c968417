from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.errors import InputError
from model.training.config import SourceConfig
from model.training.sources import DataReport, SourceFrame, iter_source, read_boxes


def write_image(path: Path, width: int = 80, height: int = 60, value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))


def frames(root: Path, kind: str, report: DataReport, **more: object) -> list[SourceFrame]:
    source = SourceConfig(kind=kind, path="set", **more)  # type: ignore[arg-type]
    return list(iter_source(source, root, report))


def test_sequences_of_frames_with_every_kind_of_bad_line(tmp_path: Path) -> None:
    for number in range(6):
        write_image(tmp_path / "set" / "car" / "img" / f"{number:04d}.png")
    lines = ["10,10,20,20", "nan,nan,nan,nan", "5\t5\t0\t9", "200,5,10,10", "1 1 2 30", "0,0,0,0"]
    (tmp_path / "set" / "car" / "groundtruth.txt").write_text("\n".join([*lines, "1,1,9,9"]))
    report = DataReport()
    found = frames(tmp_path, "sequences", report)
    assert [len(frame.boxes) for frame in found] == [1, 0, 0, 0, 0, 0]
    assert found[0].group == "car"
    assert dict(report.counts) == {
        "box without size": 1,
        "box outside the image": 1,
        "box under 4 px a side": 1,
        "missing frames (6 of 7 boxes have one)": 1,
    }
    assert any("groundtruth.txt line 3" in line for line in report.lines())


def test_strict_refuses_the_first(tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "car" / "0.png")
    (tmp_path / "set" / "car" / "groundtruth.txt").write_text("5,5,0,0\n")
    with pytest.raises(InputError, match="line 1: box without size"):
        frames(tmp_path, "sequences", DataReport(strict=True))


def test_boxes_are_cut_to_the_image_and_damaged_images_counted(tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "b.png").write_bytes(b"no image")
    entries = [
        {"file": "a.png", "size": [80, 60], "boxes": [[70, 50, 30, 30]]},
        {"file": "b.png", "size": [80, 60], "boxes": [[1, 1, 9, 9]]},
        {"file": "c.png", "size": [80, 60], "boxes": []},
    ]
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(entries))
    report = DataReport()
    found = frames(tmp_path, "boxes", report)
    assert [frame.boxes.tolist() for frame in found] == [[[70, 50, 10, 10]]]
    assert report.counts["missing or damaged image"] == 2


def test_image_folders_have_no_boxes_and_can_be_skipped(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "set" / f"{name}.png")
    found = frames(tmp_path, "images", DataReport(), skip=("b",))
    assert [frame.index for frame in found] == [0, 2]
    assert all(len(frame.boxes) == 0 for frame in found)


def test_frame_step_takes_every_nth(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / "set" / "car" / f"{number}.png")
    (tmp_path / "set" / "car" / "groundtruth.txt").write_text("5,5,9,9\n" * 5)
    found = frames(tmp_path, "sequences", DataReport(), frame_step=2)
    assert [frame.index for frame in found] == [0, 2, 4]


@pytest.mark.parametrize("kind", ["sequences", "boxes", "images"])
def test_missing_and_empty_folders_are_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="set does not exist"):
        frames(tmp_path, kind, DataReport())
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match="set"):
        frames(tmp_path, kind, DataReport())


@pytest.mark.parametrize("text", ["{", '{"a": 1}', '[{"file": "x"}]'])
def test_wrong_annotations_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "annotations.json").write_text(text)
    with pytest.raises(InputError, match=r"annotations\.json"):
        frames(tmp_path, "boxes", DataReport())


def test_a_line_that_is_no_box_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,2,3,4\n\n1,2,three,4\n")
    with pytest.raises(InputError, match="line 3"):
        read_boxes(path)


def test_crops_of_pysot(tmp_path: Path) -> None:
    boxes = {f"{n:06d}": [10, 20, 50, 60] for n in (1, 4, 9)}
    listing = {"vid/v1": {"00": boxes}, "vid/v2": {"00": boxes}}
    for video in listing:
        for frame in boxes:
            write_image(tmp_path / "set" / "crop511" / video / f"{frame}.00.x.jpg", 511, 511)
    (tmp_path / "set" / "crop511" / "vid" / "v1" / "000009.00.x.jpg").write_bytes(b"no image")
    (tmp_path / "set" / "train.json").write_text(json.dumps(listing))
    report = DataReport()
    found = frames(tmp_path, "crop511", report, skip=("v2",))
    assert [(frame.group, frame.index) for frame in found] == [("vid/v1/00", 1), ("vid/v1/00", 4)]
    # A 40 px square whose template region of 80 px is shown as 127 px, in the middle of 511 px.
    assert found[0].boxes[0] == pytest.approx([223.75, 223.75, 63.5, 63.5])
    assert dict(report.counts) == {"missing or damaged image": 1}
    assert SourceConfig(kind="crop511", path="set").follows
    (tmp_path / "set" / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"one JSON beside it, found other\.json, train\.json"):
        frames(tmp_path, "crop511", report)
