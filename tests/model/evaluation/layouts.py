"""What tests write when they lay out a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model.evaluation.box_files import Float64, write_boxes

MakePictures = Callable[..., Float64]


def flags(*names: str, among: tuple[str, ...]) -> str:
    return ",".join("1" if name in names else "0" for name in among) + "\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def put_boxes(path: Path, truth: Float64, separator: str = ",") -> None:
    write_boxes(path, truth, decimals=0, separator=separator)
