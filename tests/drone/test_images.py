from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from drone.errors import SourceError
from drone.images import ImageFolderSource
from drone.sources import open_source
from tests.drone.media import number_of, numbered_image


def fill(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), numbered_image(number))


def test_natural_order_numbers_and_truth(tmp_path: Path) -> None:
    fill(tmp_path, ["img1.png", "img2.png", "img10.png", "IMG11.JPG"])
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4\n" * 3)
    source = ImageFolderSource(tmp_path)
    source.open()
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append(frame)
    assert [f.number for f in frames] == [0, 1, 2, 3]
    assert [number_of(f.image) for f in frames] == [0, 1, 2, 3]
    assert frames[2].truth == {"target": (1, 2, 3, 4)}
    assert frames[3].truth == {}
    assert source.read(1.0) is None
    source.close()
    source.close()
    assert source.read(1.0) is None


def test_grey_pictures_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), numbered_image(3)[..., 0])
    source = ImageFolderSource(tmp_path)
    source.open()
    frame = source.read(1.0)
    assert frame is not None
    assert frame.image.shape == (96, 160, 3)


def test_a_damaged_picture_is_named_and_the_next_one_follows(tmp_path: Path) -> None:
    fill(tmp_path, ["1.png", "2.png", "3.png"])
    (tmp_path / "2.png").write_bytes(b"")
    source = ImageFolderSource(tmp_path)
    source.open()
    source.read(1.0)
    with pytest.raises(SourceError, match=r"2\.png: cannot be decoded as a picture"):
        source.read(1.0)
    frame = source.read(1.0)
    assert frame is not None
    assert frame.number == 2


def test_damaged_pictures_are_stepped_over_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, ["1.png", "2.png", "3.png", "4.png"])
    (tmp_path / "2.png").write_bytes(b"broken")
    (tmp_path / "3.png").write_bytes(b"")
    source = open_source(str(tmp_path))
    assert isinstance(source, ImageFolderSource)
    for _ in range(2):
        source.open()
        numbers = []
        while (frame := source.read(1.0)) is not None:
            numbers.append(frame.number)
        assert numbers == [0, 3]
    assert source.damaged == 2
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        str(tmp_path / "2.png"),
        str(tmp_path / "3.png"),
    ]


def test_a_folder_of_damaged_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"broken")
    source = open_source(str(tmp_path))
    source.open()
    with pytest.raises(SourceError, match="no picture in this folder can be decoded"):
        source.read(1.0)


def test_folders_without_pictures_and_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(SourceError, match="no picture in this folder: expected files ending in"):
        ImageFolderSource(tmp_path).open()
    with pytest.raises(SourceError, match="cannot list the folder"):
        ImageFolderSource(tmp_path / "absent").open()
