"""The manifest beside an exported model: what it is, and proof that its files are whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.config import TrackerConfig
from model.errors import ConfigError, ModelFileError

MANIFEST_NAME = "manifest.json"
FORMAT = 1
PRECISIONS = ("fp32", "compact", "fp16", "int8")
_EXPORT_AGAIN = "export the model again with: mlkd export"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy name: `uint8` or `float32`."""

    def __str__(self) -> str:
        """As in messages: `x (1, 287, 287, 3) uint8`."""
        return f"{self.name} {self.shape} {self.dtype}"


@dataclass(frozen=True)
class GraphSpec:
    """One graph: its file, beside the manifest, and its interface in order."""

    file: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Manifest:
    """What an engine must know of a model before it runs it."""

    format: int
    version: str
    """Version of this project that wrote it."""
    precision: str
    """`fp32`; `compact`: fp16 weights, fp32 arithmetic; `fp16`: for GPUs; `int8`."""
    opset: int
    colour_order: str
    """Of the crops: always BGR."""
    tracker: TrackerConfig
    template: GraphSpec
    search: GraphSpec
    parity: Mapping[str, float]
    """Largest error of each output, relative to the largest value of torch's."""
    source: Mapping[str, str]
    """`checkpoint` (file name), `sha256` of it, and `network`, as `alexnet`. Where so, `from`: the
    precision of the exported model that has these weights, and `factored`: the channels between."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk whose manifest was read and whose files were verified."""

    folder: Path
    manifest: Manifest

    @property
    def template_path(self) -> Path:
        """The graph that encodes the template."""
        return self.folder / self.manifest.template.file

    @property
    def search_path(self) -> Path:
        """The graph that runs once a frame."""
        return self.folder / self.manifest.search.file

    @property
    def digest(self) -> str:
        """Names the weights: sha256 over those of both graphs."""
        both = self.manifest.template.sha256 + self.manifest.search.sha256
        return hashlib.sha256(both.encode()).hexdigest()


def interface_of(
    config: TrackerConfig, kernel: tuple[int, ...]
) -> dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """Inputs and outputs that both graphs must have.

    Args:
        config: gives the crops' and maps' sizes.
        kernel: (1, C, k, k) of the template's kernels.
    """
    z, x, m, k = config.template_px, config.search_px, config.score_size, config.anchors_per_cell
    kernels = (
        TensorSpec("kernel_cls", kernel, "float32"),
        TensorSpec("kernel_loc", kernel, "float32"),
    )
    crop_z, crop_x = (1, z, z, 3), (1, x, x, 3)
    maps = (
        TensorSpec("cls", (1, 2 * k, m, m), "float32"),
        TensorSpec("loc", (1, 4 * k, m, m), "float32"),
    )
    return {
        "template": ((TensorSpec("z", crop_z, "uint8"),), kernels),
        "search": ((TensorSpec("x", crop_x, "uint8"), *kernels), maps),
    }


def sha256_of(path: Path) -> str:
    """Hash a file; hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest beside its graphs."""
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(dataclasses.asdict(manifest), indent=2) + "\n", encoding="utf-8")
    return path


def open_model(path: Path) -> ModelFiles:
    """Read a model folder (or its manifest) and verify every file.

    Raises:
        ModelFileError: a file is missing or damaged, or the manifest does not fit; the message
            says what to do.
    """
    manifest_path = path / MANIFEST_NAME if path.is_dir() else path
    folder = manifest_path.parent
    values = _read_json(manifest_path)
    try:
        manifest = _manifest_of(values)
        _check_manifest(manifest)
    except (ModelFileError, ConfigError) as error:
        raise ModelFileError(f"{manifest_path}: {error}; {_EXPORT_AGAIN}") from error
    for graph in (manifest.template, manifest.search):
        _check_file(folder / graph.file, graph.sha256)
    return ModelFiles(folder, manifest)


def check_graph(
    label: str,
    graph: GraphSpec,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> None:
    """Compare what an engine sees in a graph with what the manifest promises.

    Args:
        label: names the graph's file in the message.
        graph: the manifest's entry.
        inputs, outputs: as the engine reports them, in any order.

    Raises:
        ModelFileError: a name, shape or dtype differs.
    """
    for kind, promised, found in (
        ("inputs", graph.inputs, inputs),
        ("outputs", graph.outputs, outputs),
    ):
        if set(promised) != set(found):
            raise ModelFileError(
                f"{label}: the graph's {kind} are {_listed(found)}, but its manifest promises "
                f"{_listed(promised)}; {_EXPORT_AGAIN}"
            )


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(str(spec) for spec in specs)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(
            f"there is no model at {path}: expected a folder with {MANIFEST_NAME}, as "
            "mlkd export writes it"
        ) from None
    except OSError as error:
        raise ModelFileError(f"manifest {path} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFileError(f"manifest {path} is no JSON: {error}; {_EXPORT_AGAIN}") from error
    if not isinstance(values, dict):
        raise ModelFileError(f"manifest {path} holds no object; {_EXPORT_AGAIN}")
    return values


def _check_keys(what: str, values: object, cls: type[Any]) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ModelFileError(f"{what} is {values!r}: expected an object")
    names = {f.name for f in dataclasses.fields(cls)}
    missing = sorted(names - values.keys())
    unknown = sorted(values.keys() - names)
    if missing or unknown:
        problems = [f"missing {', '.join(missing)}"] if missing else []
        problems += [f"unknown {', '.join(unknown)}"] if unknown else []
        raise ModelFileError(f"{what} does not fit: {'; '.join(problems)}")
    return values


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ModelFileError(f"{what} is {value!r}: expected text")
    return value


def _number(what: str, value: object) -> float:
    if not isinstance(value, (int, float)):
        raise ModelFileError(f"{what} is {value!r}: expected a number")
    return float(value)


def _manifest_of(values: Mapping[str, Any]) -> Manifest:
    if values.get("format") != FORMAT:
        raise ModelFileError(f"format is {values.get('format')!r}: expected {FORMAT}")
    _check_keys("the manifest", values, Manifest)
    for name in ("tracker", "parity", "source"):
        if not isinstance(values[name], Mapping):
            raise ModelFileError(f"{name} is {values[name]!r}: expected an object")
    if not isinstance(values["opset"], int):
        raise ModelFileError(f"opset is {values['opset']!r}: expected a whole number")
    return Manifest(
        format=FORMAT,
        version=_text("version", values["version"]),
        precision=_text("precision", values["precision"]),
        opset=values["opset"],
        colour_order=_text("colour_order", values["colour_order"]),
        tracker=TrackerConfig.from_mapping(values["tracker"]),
        template=_graph_of("template", values["template"]),
        search=_graph_of("search", values["search"]),
        parity={str(k): _number(f"parity.{k}", v) for k, v in values["parity"].items()},
        source={str(k): str(v) for k, v in values["source"].items()},
    )


def _graph_of(what: str, raw: object) -> GraphSpec:
    values = _check_keys(what, raw, GraphSpec)
    file = _text(f"{what}.file", values["file"])
    if Path(file).name != file:
        raise ModelFileError(f"{what}.file is {file!r}: expected a file name without a folder")
    return GraphSpec(
        file,
        _text(f"{what}.sha256", values["sha256"]),
        _tensors_of(f"{what}.inputs", values["inputs"]),
        _tensors_of(f"{what}.outputs", values["outputs"]),
    )


def _tensors_of(what: str, raw: object) -> tuple[TensorSpec, ...]:
    if not isinstance(raw, (list, tuple)):
        raise ModelFileError(f"{what} is {raw!r}: expected a list")
    specs = []
    for item in raw:
        values = _check_keys(what, item, TensorSpec)
        shape = values["shape"]
        if not isinstance(shape, (list, tuple)) or not all(isinstance(n, int) for n in shape):
            raise ModelFileError(f"{what}: shape is {shape!r}: expected whole numbers")
        name, dtype = _text(f"{what}.name", values["name"]), _text(f"{what}.dtype", values["dtype"])
        specs.append(TensorSpec(name, tuple(shape), dtype))
    return tuple(specs)


def _check_manifest(manifest: Manifest) -> None:
    """Refuse values that contradict one another."""
    if manifest.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ModelFileError(f"precision is {manifest.precision!r}: expected one of {known}")
    if manifest.colour_order != "BGR":
        raise ModelFileError(f"colour_order is {manifest.colour_order!r}: expected BGR")
    if len(manifest.template.outputs) != 2:
        raise ModelFileError(f"template has {len(manifest.template.outputs)} outputs: expected 2")
    wanted = interface_of(manifest.tracker, manifest.template.outputs[0].shape)
    for label, graph in (("template", manifest.template), ("search", manifest.search)):
        if (graph.inputs, graph.outputs) != wanted[label]:
            raise ModelFileError(
                f"{label} lists {_listed(graph.inputs + graph.outputs)}, but the tracker "
                f"configuration asks for {_listed(sum(wanted[label], ()))}"
            )


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise ModelFileError(f"{path} is missing: its manifest names it; {_EXPORT_AGAIN}")
    found = sha256_of(path)
    if found != sha256:
        size = path.stat().st_size
        raise ModelFileError(
            f"{path} ({size} bytes) is truncated or was changed: sha256 {found[:12]}… instead of "
            f"{sha256[:12]}…; copy it again or {_EXPORT_AGAIN}"
        )
