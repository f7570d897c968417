"""MATLAB result files: `results`, a struct (or cells of structs) of the OTB toolkits.

Its fields are `type` ("rect"), `res` (N x 4), `fps`, `len`, `annoBegin` and `startFrame`. Boxes
there count px from 1; here from 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model.errors import MissingExtraError
from model.evaluation.box_files import Float64
from model.evaluation.errors import DataFileError


def _scipy_io() -> Any:
    try:
        import scipy.io
    except ModuleNotFoundError:
        raise MissingExtraError("scipy", "eval") from None
    return scipy.io


def write_mat(path: Path, boxes: Float64, times_s: Float64 | None = None) -> None:
    """Write one result.

    Args:
        path: the file.
        boxes: (N, 4) px, 0-based.
        times_s: (N,) seconds a frame; gives the speed, 0 where there is none.
    """
    io = _scipy_io()
    total = 0.0 if times_s is None else float(np.nansum(times_s[1:]))
    shifted = boxes.copy()
    shifted[:, :2] += 1
    content = {
        "type": "rect",
        "res": shifted,
        "fps": (len(boxes) - 1) / total if total > 0 else 0.0,
        "len": len(boxes),
        "annoBegin": 1,
        "startFrame": 1,
    }
    cells = np.empty((1, 1), object)
    cells[0, 0] = content
    path.parent.mkdir(parents=True, exist_ok=True)
    io.savemat(path, {"results": cells})


def read_mat(path: Path) -> tuple[Float64, Float64 | None]:
    """Read one result; of several runs the first.

    Returns:
        boxes (N, 4) px, 0-based, and seconds a frame where the file holds a speed.

    Raises:
        DataFileError: the file is missing, no MATLAB file (before 7.3), or lacks `results.res`.
    """
    io = _scipy_io()
    if not path.is_file():
        raise DataFileError(path, "a MATLAB file", "nothing")
    try:
        content = io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise DataFileError(path, "a MATLAB file of version 7 or before", str(error)[:80]) from None
    results = content.get("results")
    if isinstance(results, np.ndarray) and results.size:
        results = results.ravel()[0]
    res = getattr(results, "res", None)
    if res is None:
        names = ", ".join(k for k in content if not k.startswith("__")) or "nothing"
        raise DataFileError(path, "a struct results with a field res", names)
    kind = str(getattr(results, "type", "rect"))
    boxes = np.atleast_2d(np.asarray(res, np.float64)).copy()
    if kind != "rect" or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataFileError(path, "results of type rect, N x 4", f"type {kind}, {boxes.shape}")
    boxes[:, :2] -= 1
    fps = float(np.atleast_1d(getattr(results, "fps", 0.0))[0])
    return boxes, np.full(len(boxes), 1 / fps) if fps > 0 else None
