"""Engines are cached under everything that they depend on; graphs build ahead of time for SM86."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

import exporter.models
from exporter import tensorrt_api
from exporter.half import in_half_precision, with_half_weights
from exporter.manifest import open_model
from exporter.parity import crops
from exporter.quantize import quantize
from exporter.tensorrt import (
    BUILD_OPTIONS,
    BuildOptions,
    BuiltEngine,
    EngineKey,
    build_engine,
    cache_folder,
    engine_path,
    load_or_build,
    why_stale,
)
from model.config import TrackerConfig
from model.errors import BackendError, InputError

KEY = EngineKey("ab" * 32, "10.16.1.11", "RTX 3060", "8.6", "13.0", "fp16", 1024, 5)
SM86 = BuildOptions(workspace_mb=256, compute_capability="SM86")


class Builds:
    """Counts builds and remembers the timing cache that each was given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def __call__(self, timing_cache: bytes) -> BuiltEngine:
        self.given.append(timing_cache)
        return BuiltEngine(b"engine %d" % len(self.given), (), (), b"timing")


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    builds = Builds()
    folder = tmp_path / "engines"
    assert load_or_build(folder, KEY, builds) == b"engine 1"
    assert load_or_build(folder, KEY, builds) == b"engine 1"
    assert builds.given == [b""]
    path = engine_path(folder, KEY)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [path.name, path.with_suffix(".json").name, "timing.cache"]
    )
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert sidecar["key"] == dataclasses.asdict(KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"tensorrt": "11.4.0"}, {"gpu": "RTX A4000"}, {"compute_capability": "8.9"},
        {"driver": "13.1"}, {"precision": "int8"}, {"workspace_mb": 64}, {"opt_level": 3},
    ],
)  # fmt: skip
def test_another_version_or_gpu_builds_again_and_says_so(
    tmp_path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    builds = Builds()
    load_or_build(tmp_path, KEY, builds)
    other = dataclasses.replace(KEY, **change)
    caplog.clear()
    assert load_or_build(tmp_path, other, builds) == b"engine 2"
    assert builds.given == [b"", b"timing"]
    (name,) = change
    if name in BUILD_OPTIONS:
        assert f"the cached one is for {name} {getattr(KEY, name)!r}" in caplog.text
    else:
        assert "there is none for this model, GPU, driver and TensorRT yet" in caplog.text
        assert load_or_build(tmp_path, KEY, builds) == b"engine 1", "both are kept"
    assert load_or_build(tmp_path, other, builds) == b"engine 2"


def test_an_engine_that_cannot_be_kept_is_used_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = Builds()
    (tmp_path / "file").write_text("no folder")
    assert load_or_build(tmp_path / "file" / "engines", KEY, builds) == b"engine 1"
    assert "set MLKD_CACHE to a folder that can be written" in caplog.text
    write = Path.write_bytes

    def fill(path: Path, content: bytes) -> int:
        write(path, content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    caplog.clear()
    assert load_or_build(tmp_path, KEY, builds) == b"engine 2"
    assert "No space left on device" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"], "nothing half written stays"


def test_a_cached_engine_of_other_options_serves_who_asks_for_none(tmp_path: Path) -> None:
    builds = Builds()
    load_or_build(tmp_path, KEY, builds)
    other = dataclasses.replace(KEY, workspace_mb=64, opt_level=2)
    assert load_or_build(tmp_path, other, builds, any_options=True) == b"engine 1"
    moved = dataclasses.replace(other, gpu="RTX A4000")
    assert load_or_build(tmp_path, moved, builds, any_options=True) == b"engine 2"


def test_damaged_engines_and_sidecars_are_built_again(tmp_path: Path) -> None:
    builds = Builds()
    load_or_build(tmp_path, KEY, builds)
    path = engine_path(tmp_path, KEY)
    path.write_bytes(b"cut")
    assert why_stale(path, b"cut", KEY) == f"{path.name} is damaged"
    load_or_build(tmp_path, KEY, builds)
    for content in ("{", "[]", "{}", '{"key": 3, "sha256": ""}'):
        path.with_suffix(".json").write_text(content)
        reason = why_stale(path, path.read_bytes(), KEY)
        assert reason is not None
    load_or_build(tmp_path, KEY, builds)
    assert len(builds.given) == 3
    assert why_stale(path, path.read_bytes(), KEY) is None


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLKD_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MLKD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mlkd-track"


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="workspace is 0 MB"):
        BuildOptions(workspace_mb=0)
    with pytest.raises(InputError, match=r"opt-level is 6: expected 0\.\.5"):
        BuildOptions(opt_level=6)


@pytest.fixture(scope="module")
def rtx() -> Any:
    """NVIDIA's real parser and builder, which need no GPU."""
    return pytest.importorskip("tensorrt_rtx", reason="install the extra trt-check")


def test_every_member_in_use_exists(rtx: Any) -> None:
    asked = 0
    for name, protocol in inspect.getmembers(tensorrt_api, inspect.isclass):
        if protocol.__module__ != tensorrt_api.__name__:
            continue
        real = rtx if name == "TensorRt" else getattr(rtx, name)
        members = {m for m in vars(protocol) if not m.startswith("_")}
        members |= set(protocol.__annotations__)
        asked += len(members)
        assert [m for m in sorted(members) if not hasattr(real, m)] == [], name
    assert asked > 30
    for holder, names in (
        (rtx.MemoryPoolType, ["WORKSPACE"]),
        (rtx.NetworkDefinitionCreationFlag, ["STRONGLY_TYPED"]),
        (rtx.HardwareCompatibilityLevel, ["NONE"]),
        (rtx.TensorIOMode, ["INPUT", "OUTPUT"]),
        (rtx.DataType, ["FLOAT", "HALF", "UINT8"]),
    ):
        assert all(hasattr(holder, n) for n in names)


@pytest.fixture(scope="module")
def graphs(fp32_folder: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = open_model(fp32_folder)
    return onnx.load(model.template_path), onnx.load(model.search_path)


@pytest.mark.parametrize("precision", ["fp32", "compact", "fp16", "int8"])
def test_every_graph_builds_ahead_of_time_for_sm86(
    rtx: Any,
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
    fp32_folder: Path,
    precision: str,
) -> None:
    manifest = open_model(fp32_folder).manifest
    change = {"compact": with_half_weights, "fp16": in_half_precision}.get(precision, lambda g: g)
    forms = [(change(graphs[0]), manifest.template), (change(graphs[1]), manifest.search)]
    if precision == "int8":
        pairs = list(crops(TrackerConfig(), count=2))
        forms = [(quantize(*graphs, pairs), manifest.search)]
    for graph, spec in forms:
        built = build_engine(rtx, graph.SerializeToString(), SM86)
        assert len(built.engine) > 100_000
        assert built.inputs == spec.inputs
        assert built.outputs == spec.outputs


@pytest.mark.parametrize("form", ["factored", "int8"])
def test_the_factored_graphs_that_ship_build_too(rtx: Any, form: str) -> None:
    model = open_model(Path(exporter.models.__file__).parent / f"siamrpn-alexnet-{form}")
    assert "factored" in model.manifest.source
    files = (
        (model.template_path, model.manifest.template),
        (model.search_path, model.manifest.search),
    )
    for path, spec in files:
        built = build_engine(rtx, path.read_bytes(), SM86)
        assert (built.inputs, built.outputs) == (spec.inputs, spec.outputs)


def test_broken_graphs_are_refused(
    rtx: Any, graphs: tuple[onnx.ModelProto, onnx.ModelProto]
) -> None:
    content = graphs[1].SerializeToString()
    with pytest.raises(BackendError, match="cannot read the graph"):
        build_engine(rtx, content[: len(content) // 2], SM86)
    strange = onnx.ModelProto()
    strange.CopyFrom(graphs[1])
    strange.graph.node[-1].op_type = "Warp"
    with pytest.raises(BackendError, match="Warp"):
        build_engine(rtx, strange.SerializeToString(), SM86)
    with pytest.raises(InputError, match="no GPU 'SM7'"):
        build_engine(rtx, content, BuildOptions(compute_capability="SM7"))
