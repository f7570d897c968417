from __future__ import annotations

from pathlib import Path

import pytest

from drone.errors import SourceError
from drone.truth_file import read_truth, truth_beside, truth_of


def test_separators_absent_targets_and_trailing_lines(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text(
        "\ufeff1,2,3,4\n5 6 7 8\n9\t10\t11\t12\n1.5, 2.5, 3.5, 4.5\n"
        "nan,nan,nan,nan\n0,0,0,0\n-3,-4,20,10\n\n",
        encoding="utf-8",
    )
    assert read_truth(path) == [
        (1, 2, 3, 4),
        (5, 6, 7, 8),
        (9, 10, 11, 12),
        (1.5, 2.5, 3.5, 4.5),
        None,
        None,
        (-3, -4, 20, 10),
    ]


@pytest.mark.parametrize("line", ["1,2,3", "a,b,c,d", "1,2,3,4,5", ""])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text(f"1,2,3,4\n{line}\n5,6,7,8\n")
    with pytest.raises(SourceError, match=r"groundtruth.txt, line 2.*expected x,y,w,h"):
        read_truth(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SourceError, match=r"groundtruth.txt: cannot read the ground truth"):
        read_truth(path)


def test_no_file_is_no_truth_and_a_short_file_ends(tmp_path: Path) -> None:
    assert truth_beside(tmp_path / "video.mp4") == []
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4\nnan,nan,nan,nan\n")
    boxes = truth_beside(tmp_path / "video.mp4")
    assert truth_of(boxes, 0) == {"target": (1, 2, 3, 4)}
    assert truth_of(boxes, 1) == {"target": None}
    assert truth_of(boxes, 2) == {}
