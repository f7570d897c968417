"""Errors of files that a user brings: each names the file, the line, what was due and what is."""

from __future__ import annotations

from pathlib import Path

from model.errors import InputError


class DataFileError(InputError):
    """A file of a data set or of results cannot be used."""

    def __init__(
        self, path: Path | str, expected: str, found: str, line: int | None = None
    ) -> None:
        place = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{place}: expected {expected}, found {found}")
        self.path = Path(path)
        self.line = line
        self.expected = expected
        self.found = found


class LengthError(DataFileError):
    """Results and truth do not hold the same number of frames."""


class PeerError(InputError):
    """A tracker to compare with cannot be opened."""
