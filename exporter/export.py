"""The export: checkpoint → graphs of one precision, checked, with their manifest."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import parity
from exporter.calibration import calibration_pairs
from exporter.half import in_half_precision, with_half_weights
from exporter.manifest import (
    FORMAT,
    PRECISIONS,
    GraphSpec,
    Manifest,
    ModelFiles,
    open_model,
    sha256_of,
    write_manifest,
)
from exporter.network import LoadedNetwork, load_network
from exporter.onnx import OPSET, SEARCH_FILE, TEMPLATE_FILE, io_of, make_graphs, save_graph
from exporter.quantize import quantize
from model.errors import InputError

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)


def export_model(
    checkpoint: Path, folder: Path, precision: str = "compact", calibration: Path | None = None
) -> ModelFiles:
    """Export a checkpoint; nothing is written unless parity holds.

    Args:
        checkpoint: torch weights.
        folder: made if absent; its model is replaced.
        precision: one of `manifest.PRECISIONS`.
        calibration: sequences or images of the kind that will be flown; int8 needs them.

    Returns:
        The verified model.

    Raises:
        InputError: an unknown precision, int8 without crops, or no parity with torch.
        ModelFileError: the checkpoint does not fit.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}: expected one of {', '.join(PRECISIONS)}")
    if precision == "int8" and calibration is None:
        raise InputError("int8 needs crops to calibrate on: give --calibration FOLDER")
    loaded = load_network(checkpoint)
    template, search = make_graphs(loaded.net, loaded.config)
    figures = parity.measure(loaded.net, loaded.config, template, search)
    parity.check(figures, "fp32")
    if precision == "compact":
        template, search = with_half_weights(template), with_half_weights(search)
    elif precision == "fp16":
        template, search = in_half_precision(template), in_half_precision(search)
    elif calibration is not None:
        pairs = calibration_pairs(calibration, loaded.config)
        log.info("calibrating on %d pairs of crops from %s", len(pairs), calibration)
        search = quantize(template, search, pairs)
        template = with_half_weights(template)
    if precision != "fp32":
        figures = parity.measure(loaded.net, loaded.config, template, search)
        parity.check(figures, precision)
    return _write(folder, loaded, precision, figures, template, search)


def _write(
    folder: Path,
    loaded: LoadedNetwork,
    precision: str,
    figures: dict[str, float],
    template: onnx.ModelProto,
    search: onnx.ModelProto,
) -> ModelFiles:
    folder.mkdir(parents=True, exist_ok=True)
    specs = []
    for graph, name in ((template, TEMPLATE_FILE), (search, SEARCH_FILE)):
        save_graph(graph, folder / name)
        specs.append(GraphSpec(name, sha256_of(folder / name), *io_of(graph)))
    manifest = Manifest(
        format=FORMAT,
        version=metadata.version("mlkd-track"),
        precision=precision,
        opset=OPSET,
        colour_order="BGR",
        tracker=loaded.config,
        template=specs[0],
        search=specs[1],
        parity=figures,
        source=loaded.source,
    )
    write_manifest(folder, manifest)
    return open_model(folder)
