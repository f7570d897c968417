"""The export: checkpoint → graphs of one precision, checked, with their manifest."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from exporter import parity
from exporter.calibration import annotated_videos, calibration_pairs
from exporter.factor import CROPS, factor_network
from exporter.half import in_half_precision, with_half_weights
from exporter.judge import check_auc, choose, mean_auc
from exporter.manifest import (
    FORMAT,
    MANIFEST_NAME,
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
from exporter.recover import read_folded
from exporter.runtime.open import open_backend
from model.config import TrackerConfig
from model.errors import InputError
from model.evaluation.sequences import Sequence
from model.nets.factored import FEATURES, RANKS
from model.nets.siamrpn import SiamRPN

log = logging.getLogger(__name__)


def export_model(
    checkpoint: Path | ModelFiles,
    folder: Path,
    precision: str = "compact",
    calibration: Path | None = None,
    validation: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    factored: bool = False,
) -> ModelFiles:
    """Export a network; nothing is written unless parity holds.

    Args:
        checkpoint: torch weights, or an exported AlexNet model that holds the whole network.
        folder: made if absent; its model is replaced.
        precision: one of `manifest.PRECISIONS`.
        calibration: videos or images of the kind that will be flown; int8 and `factored` need them.
        validation: annotated videos that both are judged on; those of `calibration` when None.
        settings: of the tracker, instead of the checkpoint's.
        factored: write AlexNet's factored form, 2.5 times as fast on CPUs (`exporter.factor`).

    Returns:
        The verified model.

    Raises:
        InputError: an unknown precision, int8 or factored without crops or videos, another network
            than AlexNet to factor, or no parity with torch (of the weights as they are: those of
            an exported model may be rounded, which `from` in the source tells).
        ModelFileError: the checkpoint does not fit.
        ConfigError: a setting is unknown or out of range.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}: expected one of {', '.join(PRECISIONS)}")
    judged = precision == "int8" or factored
    if judged and calibration is None:
        what = "int8" if precision == "int8" else "the factored form"
        raise InputError(f"{what} needs crops to calibrate on: give --calibration FOLDER")
    if not judged and (calibration or validation) is not None:
        raise InputError(
            "--calibration and --validation are for int8 and --factored, --precision is "
            f"{precision}: leave them out, or add --precision int8 or --factored"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file: expected a folder to write the model to")
    judged_on = _videos(validation or calibration) if judged else []
    loaded = _load(checkpoint, folder)
    if factored and not isinstance(loaded.net, SiamRPN):
        raise InputError(
            f"--factored: the network is {loaded.source.get('network')}, expected alexnet; leave "
            "--factored out"
        )
    if settings:
        values = dataclasses.asdict(loaded.config) | dict(settings)
        loaded = dataclasses.replace(loaded, config=TrackerConfig.from_mapping(values))
    whole = make_graphs(loaded.net, loaded.config)
    figures = parity.measure(loaded.net, loaded.config, *whole)
    parity.check(figures, "fp32")
    exact = whole
    if factored and calibration is not None:
        loaded = _factor(loaded, calibration)
        exact = make_graphs(loaded.net, loaded.config)
        figures = parity.measure(loaded.net, loaded.config, *exact)
        parity.check(figures, "fp32")
    template, search = exact
    if precision == "compact":
        template, search = with_half_weights(template), with_half_weights(search)
    elif precision == "fp16":
        parity.check_range(parity.largest_inside(exact, loaded.config))
        template, search = in_half_precision(template), in_half_precision(search)
    elif precision == "int8" and calibration is not None:
        pairs = calibration_pairs(calibration, loaded.config)
        log.info("calibrating on %d pairs of crops from %s", len(pairs), calibration)
        search = quantize(template, search, pairs)
        template = with_half_weights(template)
    if precision != "fp32":
        figures = parity.measure(loaded.net, loaded.config, template, search)
        parity.check(figures, precision)
    if precision == "fp16":
        computed = parity.measure_half(loaded.net, loaded.config)
        parity.check(computed, precision)
        figures = {name: max(error, computed[name]) for name, error in figures.items()}
    if judged:
        figures |= _judge(loaded, whole, (template, search), precision, judged_on)
    return _write(folder, loaded.config, loaded.source, precision, figures, (template, search))


def _load(source: Path | ModelFiles, folder: Path) -> LoadedNetwork:
    """Read a checkpoint, or the whole network of an exported model."""
    if isinstance(source, Path):
        return load_network(source)
    if folder.resolve() == source.folder.resolve():
        raise InputError(f"--out {folder}: expected another folder to write the model to")
    manifest = source.manifest
    origin = {**manifest.source, "from": manifest.precision}
    return LoadedNetwork(read_folded(source), manifest.tracker, origin)


def _factor(loaded: LoadedNetwork, calibration: Path) -> LoadedNetwork:
    """The factored form of an AlexNet tracker, from crops of a folder.

    Raises:
        InputError: the folder gives too few crops.
    """
    assert isinstance(loaded.net, SiamRPN)
    pairs = calibration_pairs(calibration, loaded.config, CROPS)
    log.info("factoring by %d crops from %s", len(pairs), calibration)
    crops = (torch.from_numpy(x[None]).permute(0, 3, 1, 2).float() for _, x in pairs)
    net = factor_network(loaded.net, crops)
    ranks = ",".join(str(rank) for rank in (*RANKS, FEATURES))
    return LoadedNetwork(net, loaded.config, {**loaded.source, "factored": ranks})


def halve_model(model: ModelFiles, folder: Path) -> ModelFiles:
    """Write the fp16 form of an exported model, without its checkpoint.

    Args:
        model: of precision fp32 or compact.
        folder: made if absent; its model is replaced.

    Returns:
        The verified model. Its parity is that of `model` and the change since, added.

    Raises:
        InputError: another precision, a folder that is a file, or no parity with `model`.
    """
    import onnx

    manifest = model.manifest
    if manifest.precision not in ("fp32", "compact"):
        raise InputError(
            f"{model.folder} is {manifest.precision}: expected fp32 or compact, to make fp16 of"
        )
    if folder.exists() and (not folder.is_dir() or folder.resolve() == model.folder.resolve()):
        raise InputError(f"--out {folder}: expected another folder to write the model to")
    exact = onnx.load(model.template_path), onnx.load(model.search_path)
    parity.check_range(parity.largest_inside(exact, manifest.tracker))
    template, search = (in_half_precision(graph) for graph in exact)
    changed = parity.compare(exact, (template, search), manifest.tracker)
    figures = {name: error + manifest.parity.get(name, 0.0) for name, error in changed.items()}
    parity.check(figures, "fp16")
    return _write(folder, manifest.tracker, manifest.source, "fp16", figures, (template, search))


def _videos(folder: Path | None) -> list[Sequence]:
    """Annotated videos to judge a form on.

    Raises:
        InputError: there are none.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder} is no folder: expected frames or videos of your flights")
    videos = [] if folder is None else annotated_videos(folder)
    if not videos:
        raise InputError(
            f"int8 and --factored are judged by tracking, and {folder} holds no annotated video: "
            "give --validation a folder of videos, each in its own with a groundtruth.txt "
            "(x,y,w,h a line)"
        )
    return videos


def _judge(
    loaded: LoadedNetwork,
    exact: parity.Graphs,
    small: parity.Graphs,
    precision: str,
    videos: list[Sequence],
) -> dict[str, float]:
    """Track with the whole network in fp32 and with what is to be written.

    Raises:
        ParityError: the small one tracks worse.
    """
    sequences = choose(videos)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        backends = []
        label = "int8" if precision == "int8" else "factored"
        both = ("fp32", "fp32", exact, "openvino-f32"), (label, precision, small, "openvino")
        for name, form, graphs, engine in both:
            model = _write(Path(scratch) / name, loaded.config, loaded.source, form, {}, graphs)
            backends.append(opened.enter_context(closing(open_backend(model.folder, engine))))
        fp32, found = mean_auc(backends, sequences)
    in_factors = label == "int8" and "factored" in loaded.source
    check_auc(fp32, found, "factored int8" if in_factors else label)
    return {"auc_fp32": fp32, f"auc_{label}": found}


def _write(
    folder: Path,
    config: TrackerConfig,
    source: Mapping[str, str],
    precision: str,
    figures: dict[str, float],
    graphs: parity.Graphs,
) -> ModelFiles:
    """Write a model; one that is there stays whole until the new one is on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as scratch:
        fresh = Path(scratch)
        specs = []
        for graph, name in zip(graphs, (TEMPLATE_FILE, SEARCH_FILE), strict=True):
            save_graph(graph, fresh / name)
            specs.append(GraphSpec(name, sha256_of(fresh / name), *io_of(graph)))
        manifest = Manifest(
            format=FORMAT,
            version=metadata.version("mlkd-track"),
            precision=precision,
            opset=OPSET,
            colour_order="BGR",
            tracker=config,
            template=specs[0],
            search=specs[1],
            parity=figures,
            source=source,
        )
        write_manifest(fresh, manifest)
        for name in (TEMPLATE_FILE, SEARCH_FILE, MANIFEST_NAME):
            (fresh / name).replace(folder / name)
    return open_model(folder)
