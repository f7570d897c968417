"""A folder of pictures as a source: every picture, in natural order."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import cv2
import numpy as np

from drone.errors import SourceError
from drone.frame import Frame, Pixels, TruthBox
from drone.truth_file import truth_beside, truth_of

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class ImageFolderSource:
    """Delivers every picture of a folder in natural order (2.jpg before 10.jpg).

    A `groundtruth.txt` in the folder, one x,y,w,h line a picture, becomes the truth of "target".
    """

    live = False

    def __init__(self, folder: Path, *, skip_damaged: bool = False) -> None:
        """Name the folder; nothing is read before `open`.

        Args:
            folder: holds the pictures.
            skip_damaged: step over a picture that cannot be decoded, naming it once in the log,
                where one answer a picture is not needed.
        """
        self._folder = folder
        self._skip_damaged = skip_damaged
        self._damaged: set[Path] = set()
        self._files: list[Path] = []
        self._truth: list[TruthBox | None] = []
        self._next = 0

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self._folder)

    @property
    def damaged(self) -> int:
        """Pictures that were stepped over, each counted once."""
        return len(self._damaged)

    @property
    def frame_count(self) -> int:
        """Number of pictures; 0 before `open`."""
        return len(self._files)

    def open(self) -> None:
        """List the pictures.

        Raises:
            SourceError: no such folder, or no picture in it.
        """
        try:
            files = sorted(self._folder.iterdir(), key=_natural)
        except OSError as error:
            raise SourceError(
                f"{self._folder}: cannot list the folder ({error.strerror}): expected a folder "
                "of pictures"
            ) from error
        self._files = [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()]
        if not self._files:
            raise SourceError(
                f"{self._folder}: no picture in this folder: expected files ending in "
                f"{', '.join(IMAGE_SUFFIXES)}"
            )
        self._truth = truth_beside(self._folder)
        self._next = 0

    def read(self, timeout_s: float) -> Frame | None:
        """Give the next picture; None after the last. `timeout_s` plays no part: disks answer.

        Raises:
            SourceError: a picture is damaged and not to be skipped, and the next read goes on with
                the one after it; or no picture of the folder can be decoded.
        """
        while self._next < len(self._files):
            number = self._next
            path = self._files[number]
            self._next += 1
            captured_ns = time.monotonic_ns()
            image = _decoded(path)
            if image is not None:
                return Frame(
                    number=number,
                    image=image,
                    captured_ns=captured_ns,
                    truth=truth_of(self._truth, number),
                )
            self._note_damaged(path)
        if self._files and self._damaged.issuperset(self._files):
            raise SourceError(f"{self._folder}: no picture in this folder can be decoded")
        return None

    def _note_damaged(self, path: Path) -> None:
        reason = f"{path}: cannot be decoded as a picture"
        if not self._skip_damaged:
            raise SourceError(f"{reason}; mend or remove it from the folder")
        if path not in self._damaged:
            logger.warning("%s; it is stepped over", reason)
        self._damaged.add(path)

    def close(self) -> None:
        """Forget the list of pictures."""
        self._files, self._truth, self._next = [], [], 0


def _decoded(path: Path) -> Pixels | None:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if image is None else np.ascontiguousarray(image, np.uint8)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]
