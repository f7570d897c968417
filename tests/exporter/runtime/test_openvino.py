"""bf16 where the CPU multiplies it itself; a trial where that is not known."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.manifest import open_model
from exporter.runtime import openvino as runtime


class Core:
    """The real library, with other capabilities of the CPU."""

    def __init__(self, real: Any, able: bool) -> None:
        self._real, self._able = real, able

    def get_property(self, device: str, name: str) -> list[str]:
        return ["FP32", "BF16"] if self._able else ["FP32"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, able: bool, flags: list[str]) -> str:
    real = runtime._core()
    monkeypatch.setattr(runtime, "_core", lambda: Core(real, able))
    monkeypatch.setattr(runtime, "bf16_flags", lambda: flags)
    backend = runtime.OpenVinoBackend(open_model(folder), threads=1)
    backend.close()
    return backend.name


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Precisions that took part in each trial; f32 wins them all."""
    monkeypatch.delenv(runtime.ISA_LIMIT, raising=False)
    seen: list[list[str]] = []

    def choose(makers: dict[str, Any]) -> str:
        seen.append(list(makers))
        return list(makers)[-1]

    monkeypatch.setattr(runtime, "quickest", choose)
    return seen


def test_without_bf16_there_is_nothing_to_try(
    fp32_folder: Path, monkeypatch: pytest.MonkeyPatch, tried: list[list[str]]
) -> None:
    assert opened(fp32_folder, monkeypatch, able=False, flags=[]).startswith("openvino-f32")
    assert tried == [["f32"]]


def test_bf16_of_the_cpu_itself_is_taken_without_a_trial(
    fp32_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tried: list[list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        name = opened(fp32_folder, monkeypatch, able=True, flags=["amx_bf16"])
    assert name.startswith("openvino-bf16")
    assert tried == [["bf16"]]
    assert "amx_bf16" in caplog.text


@pytest.mark.parametrize(("flags", "limit"), [([], None), (["amx_bf16"], "AVX512_CORE_VNNI")])
def test_bf16_that_may_be_imitated_is_tried_against_f32(
    fp32_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tried: list[list[str]],
    caplog: pytest.LogCaptureFixture,
    flags: list[str],
    limit: str | None,
) -> None:
    if limit:
        monkeypatch.setenv(runtime.ISA_LIMIT, limit)
    with caplog.at_level(logging.INFO):
        assert opened(fp32_folder, monkeypatch, able=True, flags=flags).startswith("openvino-f32")
    assert tried == [["bf16", "f32"]]
    assert "trying both" in caplog.text


SIGNAL = """
import gc, os, pathlib, signal, sys, time
from exporter.manifest import open_model
from exporter.runtime.openvino import OpenVinoBackend
hits = []
signal.signal(signal.SIGINT, lambda *_: hits.append(1))
model = open_model(pathlib.Path(sys.argv[1]))
first = OpenVinoBackend(model, "f32", 1)
second = OpenVinoBackend(model, "f32", 1)
first.close()
del first
gc.collect()
second.close()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.05)
print(len(hits))
"""


def test_a_signal_after_two_engines_came_and_went_is_heard(fp32_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL, str(fp32_folder)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr[-500:]
