"""A model folder whose manifest or graphs do not fit is refused, and the message says why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.manifest import MANIFEST_NAME, open_model, sha256_of
from exporter.models import default_model
from exporter.runtime.open import open_backend
from model.errors import ModelFileError


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / MANIFEST_NAME
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def refused(path: Path, expected: str) -> str:
    with pytest.raises(ModelFileError, match=expected) as caught:
        open_model(path)
    return str(caught.value)


def test_a_whole_model_opens_by_folder_and_by_manifest(model_folder: Path) -> None:
    model = open_model(model_folder)
    assert model == open_model(model_folder / MANIFEST_NAME)
    assert model.manifest.search.sha256 == sha256_of(model.search_path)
    assert model.manifest.source["checkpoint"] == "random.pt"
    assert max(model.manifest.parity.values()) <= 1e-5
    assert len(model.digest) == 64


def test_a_missing_model_says_how_to_make_one(tmp_path: Path) -> None:
    assert str(tmp_path) in refused(tmp_path, "mlkd export")


def test_a_manifest_that_is_no_json_is_refused(model_folder: Path) -> None:
    (model_folder / MANIFEST_NAME).write_text("{")
    refused(model_folder, "no JSON")


def test_a_manifest_that_is_a_list_is_refused(model_folder: Path) -> None:
    (model_folder / MANIFEST_NAME).write_text("[]")
    refused(model_folder, "no object")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda v: v.update(format=99), "format is 99: expected 1"),
        (lambda v: v.update(speed=1), "unknown speed"),
        (lambda v: v.pop("opset"), "missing opset"),
        (lambda v: v.update(opset="20"), "opset is '20': expected a whole number"),
        (lambda v: v.update(precision="fp8"), "precision is 'fp8': expected one of fp32"),
        (lambda v: v.update(colour_order="RGB"), "colour_order is 'RGB': expected BGR"),
        (lambda v: v.update(tracker=None), "tracker is None: expected an object"),
        (lambda v: v["tracker"].update(penalti_k=1), "did you mean 'penalty_k'"),
        (lambda v: v["tracker"].update(search_px=255), "asks for .*255"),
        (lambda v: v["parity"].update(cls="good"), "parity.cls is 'good': expected a number"),
        (lambda v: v["search"].pop("sha256"), "search does not fit: missing sha256"),
        (lambda v: v["search"].update(file="../search.onnx"), "without a folder"),
        (lambda v: v["search"].update(inputs=3), "search.inputs is 3: expected a list"),
        (lambda v: v["search"]["inputs"][0].update(shape="287"), "shape is '287'"),
        (lambda v: v["search"]["inputs"][0].update(name="image"), "search lists image"),
        (lambda v: v["template"]["outputs"].pop(), "template has 1 outputs: expected 2"),
        (lambda v: v["template"].update(file=""), "template.file is '': expected text"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    model_folder: Path, edit: Callable[[dict[str, Any]], None], expected: str
) -> None:
    change(model_folder, edit)
    message = refused(model_folder, expected)
    assert message.startswith(str(model_folder / MANIFEST_NAME))
    assert message.endswith("export the model again with: mlkd export")


@pytest.mark.parametrize("name", ["template.onnx", "search.onnx"])
def test_a_truncated_graph_is_refused(model_folder: Path, name: str) -> None:
    path = model_folder / name
    path.write_bytes(path.read_bytes()[:100_000])
    refused(model_folder, re.escape(f"{path} (100000 bytes) is truncated or was changed"))


def test_a_missing_graph_is_refused(model_folder: Path) -> None:
    (model_folder / "search.onnx").unlink()
    refused(model_folder, "search.onnx is missing")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime-cpu", "auto"])
def test_a_corrupt_graph_with_a_true_hash_is_refused_by_the_engine(
    model_folder: Path, engine: str
) -> None:
    path = model_folder / "search.onnx"
    path.write_bytes(b"\x08\x0anot a graph" + bytes(500))
    change(model_folder, lambda v: v["search"].update(sha256=sha256_of(path)))
    with pytest.raises(ModelFileError, match=re.escape(str(path))):
        open_backend(model_folder, engine, threads=1)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime-cpu"])
def test_a_manifest_of_another_graph_is_refused_by_the_engine(
    model_folder: Path, engine: str
) -> None:
    """The template's graph under the search graph's name: a true hash, another interface."""
    path = model_folder / "search.onnx"
    path.write_bytes((model_folder / "template.onnx").read_bytes())
    change(model_folder, lambda v: v["search"].update(sha256=sha256_of(path)))
    with pytest.raises(ModelFileError, match=r"the graph's inputs are z \(1, 127, 127, 3\)"):
        open_backend(model_folder, engine, threads=1)


def test_the_default_model_is_whole_or_its_absence_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("exporter.models.DEFAULT_NAME", "absent")
    with pytest.raises(ModelFileError, match="--model"):
        default_model()
