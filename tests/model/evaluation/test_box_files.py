from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.evaluation.box_files import format_row, read_boxes, read_rows, write_boxes


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "boxes.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\n5,6,7,8\n",
        "1 2 3 4\n5 6 7 8",
        "1\t2\t3\t4\n5\t6\t7\t8\n",
        "1\t2\t3\t4\n5 6 7 8\n",  # a set mixes tabs and spaces
        "1, 2, 3, 4\r\n5, 6, 7, 8\r\n\r\n",
        "\ufeff1;2;3;4\n5;6;7;8\n",
        "1.0,2e0,+3,4.\n5,6,7,8\n",
    ],
)
def test_separators(tmp_path: Path, text: str) -> None:
    found = read_boxes(written(tmp_path, text))
    assert found.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_nan_in_any_case(tmp_path: Path) -> None:
    found = read_boxes(written(tmp_path, "1,2,3,4\nNaN,nan,NAN,NaN\n"))
    assert np.isnan(found[1]).all()


def test_corners_become_their_bounding_box(tmp_path: Path) -> None:
    found = read_boxes(written(tmp_path, "10,20,30,22,28,40,8,38\n"))
    assert found.tolist() == [[8, 20, 22, 20]]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("1,2,3,4\n5,6,car,8\n", 2, ["numbers", "'car'"]),
        ("1,2,3,4\n5 6 7 8\n", 2, ["one separator, comma", "5 6 7 8"]),
        ("1,2,3,4\n5,6 7,8\n", 2, ["one separator, comma", "5,6 7,8"]),
        ("1 2 3 4\n5,6,7,8\n", 2, ["one separator, space"]),
        ("1,2,3,4\n5,6,7\n", 2, ["4 values", "3 in '5,6,7'"]),
        ("1,2,3,4\n\n5,6,7,8\n", 2, ["an empty line"]),
        ("1,2,3\n", 1, ["4 values x, y, w, h", "3"]),
        ("1,2,3,4,\n5,6,7,8,\n", 1, ["numbers"]),
        ("left,top,w,h\n1,2,3,4\n", 1, ["numbers", "'left'"]),
        ("1,2,3,4\n5,6,inf,8\n", 2, ["numbers", "'inf'"]),
        ("1,2,3,4\n5,6,1e999,8\n", 2, ["finite numbers", "5,6,1e999,8"]),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, line: int, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_boxes(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: expected")
    assert "found" in message
    for word in words:
        assert word in message


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"boxes\.txt: expected at least one row.*empty"):
        read_boxes(written(tmp_path, ""))
    with pytest.raises(InputError, match=r"none\.txt: expected a text file, found nothing"):
        read_boxes(tmp_path / "none.txt")
    with pytest.raises(InputError, match="expected a text file, found a folder"):
        read_boxes(tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="UTF-8"):
        read_boxes(tmp_path / "binary.txt")


def test_writing_and_reading_again(tmp_path: Path) -> None:
    rows = np.array([[1.23456, 2, 3, 4], [np.nan, np.nan, np.nan, np.nan]])
    write_boxes(tmp_path / "a" / "b.txt", rows)
    found = read_boxes(tmp_path / "a" / "b.txt")
    assert found[0].tolist() == [1.2346, 2, 3, 4]
    assert np.isnan(found[1]).all()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_columns_can_be_asked_for(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, "0.1\n0.2\n"), 1).tolist() == [[0.1], [0.2]]
    with pytest.raises(InputError, match="1 values"):
        read_rows(written(tmp_path, "0.1,3\n0.2,4\n"), 1)
    assert format_row([1.26, 2], 1, "\t") == "1.3\t2.0"
