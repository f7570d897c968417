from __future__ import annotations

import json
import re
import struct
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


def write_numbered(root: Path, names: list[str], boxes: int) -> None:
    """A sequence whose n-th picture has the grey n, and as many boxes, the n-th at x = n."""
    for name in names:
        number = int("".join(c for c in name if c.isdigit()) or 0)
        write_image(root / "set" / "car" / "img" / f"{name}.png", value=number)
    lines = [f"{n},5,20,20" for n in range(boxes)]
    (root / "set" / "car" / "groundtruth.txt").write_text("\n".join(lines))


def matches(found: list[SourceFrame]) -> list[tuple[int, int]]:
    """(grey of the picture, x of the box) of each frame that has one."""
    return [(int(f.image[0, 0, 0]), int(f.boxes[0, 0])) for f in found if len(f.boxes)]


def test_pictures_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    write_numbered(tmp_path, [f"{n}" for n in range(1, 13)], boxes=12)
    report = DataReport()
    found = frames(tmp_path, "sequences", report)
    assert matches(found) == [(n, n - 1) for n in range(1, 13)]
    assert not report.lines()


def test_a_hole_in_the_numbers_shifts_no_box(tmp_path: Path) -> None:
    write_numbered(tmp_path, ["img8", "img9", "img11", "img12"], boxes=5)
    report = DataReport()
    found = frames(tmp_path, "sequences", report)
    assert matches(found) == [(8, 0), (9, 1), (11, 3), (12, 4)]
    assert [frame.index for frame in found] == [0, 1, 3, 4]
    assert dict(report.counts) == {"missing frames (4 of 5 boxes have one)": 1}


def test_holes_do_not_matter_where_there_is_a_box_a_picture(tmp_path: Path) -> None:
    write_numbered(tmp_path, ["5", "10", "15", "100"], boxes=4)
    report = DataReport()
    assert matches(frames(tmp_path, "sequences", report)) == [(5, 0), (10, 1), (15, 2), (100, 3)]
    assert not report.lines()


@pytest.mark.parametrize(
    ("names", "boxes", "numbering"),
    [
        (["2", "3", "4"], 4, "numbered 2 to 4"),  # the first may be missing, or the last
        (["7", "8", "9"], 2, "numbered 7 to 9"),
        (["1", "2", "4"], 5, "numbered 1 to 4"),
        (["a1", "b1", "c2"], 2, "numbered 1 to 2"),
        (["a", "b", "3"], 2, "not all numbered"),
    ],
)
def test_a_sequence_that_could_be_matched_in_several_ways_is_left_out(
    tmp_path: Path, names: list[str], boxes: int, numbering: str
) -> None:
    write_numbered(tmp_path, names, boxes)
    report = DataReport()
    assert frames(tmp_path, "sequences", report) == []
    (line,) = report.lines()
    problem = (
        f"sequence whose pictures do not fit its boxes (3 pictures, {numbering}; {boxes} boxes)"
    )
    assert line.startswith(f"1 x {problem}, first: ")
    with pytest.raises(InputError, match=r"groundtruth\.txt: sequence whose pictures"):
        frames(tmp_path, "sequences", DataReport(strict=True))


def test_pictures_beyond_the_boxes_are_counted_once(tmp_path: Path) -> None:
    write_numbered(tmp_path, ["1", "2", "3", "4"], boxes=2)
    report = DataReport()
    assert matches(frames(tmp_path, "sequences", report)) == [(1, 0), (2, 1)]
    assert dict(report.counts) == {"frames without a box (2 of 4 have one)": 1}


def test_a_damaged_picture_shifts_nothing(tmp_path: Path) -> None:
    write_numbered(tmp_path, ["1", "2", "3", "4"], boxes=4)
    for number in (2, 4):
        (tmp_path / "set" / "car" / "img" / f"{number}.png").write_bytes(b"no image")
    report = DataReport()
    assert matches(frames(tmp_path, "sequences", report)) == [(1, 0), (3, 2)]
    assert dict(report.counts) == {"missing or damaged image": 2}


@pytest.mark.parametrize(
    ("boxes", "problem"),
    [
        (2, {"frames without a box (2 of 4 have one)": 1}),
        (4, {}),
        (6, {"missing frames (4 of 6 boxes have one)": 1}),
    ],
)
def test_a_video_of_another_length_is_counted_once(
    tmp_path: Path, boxes: int, problem: dict[str, int]
) -> None:
    folder = tmp_path / "set" / "car"
    folder.mkdir(parents=True)
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(folder / "video.avi"), fourcc, 10, (80, 60))
    for n in range(4):
        video.write(np.full((60, 80, 3), 50 * n, np.uint8))
    video.release()
    (folder / "groundtruth.txt").write_text("5,5,9,9\n" * boxes)
    report = DataReport()
    found = frames(tmp_path, "sequences", report)
    assert [frame.index for frame in found] == list(range(min(boxes, 4)))
    assert dict(report.counts) == problem


def test_a_sequence_without_frames_is_counted(tmp_path: Path) -> None:
    (tmp_path / "set" / "car").mkdir(parents=True)
    (tmp_path / "set" / "car" / "groundtruth.txt").write_text("5,5,9,9\n" * 3)
    report = DataReport()
    assert frames(tmp_path, "sequences", report) == []
    assert dict(report.counts) == {"missing frames (0 of 3 boxes have one)": 1}


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


def test_a_header_of_more_pixels_than_opencv_takes_is_a_damaged_image(tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "a.png")
    sizes = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 24, *[0] * 6)
    (tmp_path / "set" / "huge.bmp").write_bytes(b"BM" + sizes)
    report = DataReport()
    assert len(frames(tmp_path, "images", report)) == 1
    assert dict(report.counts) == {"missing or damaged image": 1}


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


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "no JSON"),
        ('{"a": 1}', "expected a list of {file, size, boxes}"),
        ("3", "does not hold a list"),
        ('["a.png"]', "entry 1 is a.png: expected {file, size, boxes}"),
        ('[{"boxes": []}]', "entry 1 is {'boxes': []}: expected"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "annotations.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(named)) as caught:
        frames(tmp_path, "boxes", DataReport())
    assert str(tmp_path / "set" / "annotations.json") in str(caught.value)


@pytest.mark.parametrize(
    "boxes",
    ["null", "[1, 2, 3, 4]", "[[1, 2, 3]]", "[[1, 2, 3, 4], [5]]", "[[1, 2, 3, null]]",
     '[["1", "2", "3", "4"]]', "[[1, 2, 3, true]]", "[null]", "7", f"[[1, 2, 3, {10**400}]]"],
)  # fmt: skip
def test_boxes_that_are_none_are_named(tmp_path: Path, boxes: str) -> None:
    write_image(tmp_path / "set" / "a.png")
    entries = '[{"file": "a.png", "boxes": []}, {"file": "b.png", "boxes": ' + boxes + "}]"
    (tmp_path / "set" / "annotations.json").write_text(entries)
    with pytest.raises(InputError, match=r"entry 2 \(b\.png\).*\[\[x, y, w, h\]\] for one"):
        frames(tmp_path, "boxes", DataReport())


def test_an_annotated_absent_target_is_no_box(tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "annotations.json").write_text(
        '[{"file": "a.png", "boxes": [[NaN, NaN, NaN, NaN], [1, 2, 9, 9.5]]}]'
    )
    (found,) = frames(tmp_path, "boxes", DataReport())
    assert found.boxes.tolist() == [[1, 2, 9, 9.5]]


def test_a_line_that_is_no_box_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,2,3,4\n\n1,2,three,4\n")
    with pytest.raises(InputError, match="line 3"):
        read_boxes(path)


def test_a_blank_line_is_a_frame_without_a_target(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,2,3,4\n \n5,6,7,8\n\n\n")
    boxes = read_boxes(path)
    assert boxes.shape == (3, 4)
    assert np.isnan(boxes[1]).all()
    assert boxes[2].tolist() == [5, 6, 7, 8]
    path.write_text("\n")
    assert read_boxes(path).shape == (0, 4)


def test_a_truth_that_is_no_text_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "set" / "car" / "0.png")
    (tmp_path / "set" / "car" / "groundtruth.txt").write_bytes(b"1,2,3,4 \xff\n")
    with pytest.raises(InputError, match=r"groundtruth\.txt: expected UTF-8 text"):
        frames(tmp_path, "sequences", DataReport())


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
