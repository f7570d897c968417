"""The built-in model comes in the form that suits engine and CPU; forms are of the same weights."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

import exporter.models
import exporter.runtime.open
from exporter.manifest import open_model
from exporter.models import FACTORED_SUFFIX, INT8_SUFFIX, default_model
from exporter.runtime.open import ENGINES, GROUPS, open_backend
from gcs.compose import choose_model, describe_model
from gcs.settings import load_settings


@pytest.fixture
def shipped(fp32_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships a float and an int8 form, on a CPU with int8 instructions."""
    for name in ("small", f"small{INT8_SUFFIX}"):
        shutil.copytree(fp32_folder, tmp_path / name)
    manifest = tmp_path / f"small{INT8_SUFFIX}" / "manifest.json"
    values = json.loads(manifest.read_text())
    values["precision"] = "int8"
    manifest.write_text(json.dumps(values))
    monkeypatch.setattr(exporter.models, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(exporter.models, "DEFAULT_NAME", "small")
    monkeypatch.setattr(exporter.runtime.open, "DEFAULT_NAME", "small")
    monkeypatch.setattr(exporter.models, "int8_flags", lambda: ["avx512_vnni"])
    return tmp_path


def test_cpu_engines_take_int8_and_the_others_the_float_form(shipped: Path) -> None:
    takes_int8 = {e for e in ENGINES if default_model(e).name == f"small{INT8_SUFFIX}"}
    assert takes_int8 == {"openvino"}
    assert default_model().name == "small"


def test_a_cpu_without_int8_keeps_the_float_form(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporter.models, "int8_flags", list)
    with caplog.at_level(logging.INFO):
        assert default_model("openvino").name == "small"
    assert "not known to compute int8" in caplog.text


def test_engines_on_cpus_take_the_factored_form_where_they_do_not_take_int8(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shipped / "small", shipped / f"small{FACTORED_SUFFIX}")
    assert exporter.models.shipped_names() == ["small"]
    takes = {engine: default_model(engine).name.removeprefix("small") for engine in ENGINES}
    cpu = {engine for engine, form in takes.items() if form == FACTORED_SUFFIX}
    assert cpu == {"openvino-bf16", "openvino-f32", "onnxruntime-cpu"}
    assert takes["openvino"] == INT8_SUFFIX
    assert {takes[name] for name in ("tensorrt", "onnxruntime-cuda", "torch")} == {""}
    monkeypatch.setattr(exporter.models, "int8_flags", list)
    assert default_model("openvino").name == f"small{FACTORED_SUFFIX}"


def test_a_package_without_int8_keeps_the_float_form(shipped: Path) -> None:
    shutil.rmtree(shipped / f"small{INT8_SUFFIX}")
    assert default_model("openvino").name == "small"


@pytest.mark.parametrize("engine", [*GROUPS, "openvino"])
def test_name_and_flight_manifest_tell_the_form_that_runs(
    shipped: Path, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, named = choose_model(load_settings({"engine": engine}))
    with caplog.at_level(logging.INFO):
        backend = open_backend(path, named, threads=1)
    assert "(small-int8, int8 model, CPU, 1 thread)" in backend.name
    assert "avx512_vnni" in caplog.text
    described = describe_model(backend, path)
    small = open_model(shipped / f"small{INT8_SUFFIX}")
    assert described == {"model": small.folder.name, "engine_sha256": small.digest}
    backend.close()


def test_a_model_that_was_asked_for_is_the_one_that_runs(shipped: Path) -> None:
    backend = open_backend(shipped / "small", "openvino", threads=1)
    assert "(small, fp32 model" in backend.name
    backend.close()


def test_a_model_that_ships_can_be_asked_for_by_its_name(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exporter.models.shipped_names() == ["small"]
    backend = open_backend(Path("small"), "openvino", threads=1)
    assert "(small-int8, int8 model" in backend.name
    backend.close()
    # A folder of the user's own goes before a name.
    monkeypatch.chdir(shipped)
    backend = open_backend(Path("small"), "openvino", threads=1)
    assert "(small, fp32 model" in backend.name
    backend.close()


@pytest.mark.parametrize("name", exporter.models.shipped_names())
def test_the_shipped_forms_are_of_the_same_weights(name: str) -> None:
    large = exporter.models.shipped_model(name)
    theirs = open_model(large).manifest
    assert theirs.precision != "int8"
    assert "factored" not in theirs.source
    forms = {end: large.with_name(f"{name}{end}") for end in (INT8_SUFFIX, FACTORED_SUFFIX)}
    found = {end: open_model(form).manifest for end, form in forms.items() if form.is_dir()}
    assert found
    for end, ours in found.items():
        assert (ours.precision == "int8") == (end == INT8_SUFFIX)
        assert ("factored" in ours.source) == (theirs.source["network"] == "alexnet")
        assert ours.tracker == theirs.tracker
        assert ours.source["sha256"] == theirs.source["sha256"]
        auc = {key: value for key, value in ours.parity.items() if key.startswith("auc_")}
        assert len(auc) == 2
        assert min(auc.values()) >= auc["auc_fp32"] - 0.01


def test_no_graph_holds_a_path_of_the_machine_that_made_it(fp32_folder: Path) -> None:
    shipped_graphs = list(Path(exporter.models.__file__).parent.glob("*/*.onnx"))
    assert len(shipped_graphs) >= 4
    for graph in (*shipped_graphs, *fp32_folder.glob("*.onnx")):
        assert b"exporter/onnx.py" not in graph.read_bytes(), graph
