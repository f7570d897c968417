"""What flies must import with the base install alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model", "drone", "exporter", "gcs")
# Rooms that need an extra; they must not be reached from anywhere else at import.
NEED_TORCH = (
    *("model.nets", "model.enhance", "model.training"),
    *("exporter.export", "exporter.factor", "exporter.judge", "exporter.network", "exporter.onnx"),
    *("exporter.parity", "exporter.recover", "exporter.runtime.torch", "exporter.runtime.trained"),
)
OPTIONAL = ("torch", "onnx", "onnxruntime", "tensorrt", "olympe", "cuda", "matplotlib", "scipy")

BLOCKED_IMPORT = """
import importlib, importlib.abc, sys
blocked = set({blocked!r})
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{{name}} is not part of the base install", name=name)
sys.meta_path.insert(0, Absent())
for name in {modules!r}:
    importlib.import_module(name)
"""


def modules() -> list[str]:
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def test_every_module_that_flies_imports_without_any_extra() -> None:
    flying = [
        n for n in modules() if not n.startswith(NEED_TORCH) and not n.startswith("model.cli_")
    ]
    assert "gcs.cli" in flying
    code = BLOCKED_IMPORT.format(blocked=OPTIONAL, modules=flying)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_answers_without_any_extra() -> None:
    code = BLOCKED_IMPORT.format(blocked=OPTIONAL, modules=["gcs.cli"])
    code += "\nimport gcs.cli\ngcs.cli.main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    for verb in ("serve", "track", "flights", "bench", "export", "train", "eval", "doctor"):
        assert verb in done.stdout


@pytest.mark.parametrize("library", ["olympe", "tensorrt", "onnxruntime", "openvino"])
def test_a_vendor_library_is_never_imported_at_module_level(library: str) -> None:
    found = []
    for name in modules():
        path = ROOT / Path(*name.split("."))
        source = (
            path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        )
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            imported: list[str] = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported = [node.module]
            if any(i.split(".")[0] == library for i in imported):
                found.append(name)
    assert found == []
