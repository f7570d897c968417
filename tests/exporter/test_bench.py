"""The benchmark: what it times, how it takes turns, and the line of JSON that it ends with."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from exporter import bench
from exporter.cli_bench import CLIP_FRAMES, _network_of, _reference, read_saved, table
from exporter.machine import CPU_FLAGS, describe_machine
from exporter.runtime.open import open_backend
from exporter.runtime.torch import TorchBackend
from exporter.scene import HEIGHT_PX, WIDTH_PX, draw_clip, read_clip
from gcs.cli import main
from model.backend import Template
from model.config import TrackerConfig
from model.errors import BoxError, InputError
from model.geometry import Box, Float, Image
from model.nets.siamrpn import SiamRPN

TIMING = {"fps", "p50_ms", "p95_ms", "p99_ms", "frames"}


class CountingBackend:
    """Answers flat maps and counts its calls."""

    name = "counting"
    config = TrackerConfig()

    def __init__(self) -> None:
        self.searches = self.templates = 0

    def encode_template(self, z: Image) -> Template:
        self.templates += 1
        kernel: Float = np.zeros((1, 1, 1, 1), np.float32)
        return Template(kernel, kernel)

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        self.searches += 1
        return np.zeros((10, 21, 21), np.float32), np.zeros((20, 21, 21), np.float32)

    def close(self) -> None:
        pass


def test_contenders_take_turns_and_run_their_share() -> None:
    whole = bench.Contender("whole", lambda _: None)
    slow = bench.Contender("slow", lambda _: None, share=0.2)
    plan = list(bench.schedule(100, [whole, slow]))
    assert [c.label for c, _, _ in plan] == ["whole", "slow"] * bench.ROUNDS
    assert sum(n for c, _, n in plan if c is whole) == 100
    assert sum(n for c, _, n in plan if c is slow) == 20
    assert [start for c, start, _ in plan if c is whole] == list(range(0, 100, 10))


def test_each_frame_is_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0

    def step(index: int) -> None:
        nonlocal now
        now += 1_000_000 * (index + 1)

    monkeypatch.setattr(bench, "_clock", lambda: now)
    contender = bench.Contender("c", step)
    bench.run_contenders(10, [contender])
    assert contender.durations_ns == [1_000_000 * (i + 1) for i in range(10)]
    timing = bench.summarise(contender.durations_ns)
    assert timing == {
        "fps": round(1000 / 5.5, 2), "p50_ms": 5.5, "p95_ms": 9.55, "p99_ms": 9.91, "frames": 10
    }  # fmt: skip


def test_a_turn_begins_with_passes_that_do_not_count() -> None:
    """The first pass after another contender waits for threads and caches, which no flight does."""
    contender = bench.Contender("c", lambda index: indices.append(index))
    indices: list[int] = []
    bench.run_contenders(10, [contender])
    assert len(contender.durations_ns) == 10
    turns = [[k] * (bench.LEAD_IN + 1) for k in range(10)]
    assert indices == [*range(bench.WARM_UP), *(k for turn in turns for k in turn)]


def test_the_host_is_timed_without_the_engine() -> None:
    backend = CountingBackend()
    step = bench.host_step(backend, draw_clip(2))
    before = backend.searches
    for index in range(5):
        step(index)
    assert backend.searches == before
    bench.update_step(backend, draw_clip(2))(0)
    assert backend.searches == before + 1


def test_a_report_holds_every_figure_and_the_reference_only_where_there_is_one() -> None:
    clip = draw_clip(3)
    ticks = []
    report = bench.run_bench(
        CountingBackend(), "fp32", clip, 20, CountingBackend(), {"peer": lambda _: None},
        lambda: ticks.append(1),
    )  # fmt: skip
    assert len(ticks) == 7 * bench.ROUNDS
    for name in ("update", "engine", "host", "crop", "decode", "reference"):
        assert set(report[name]) == TIMING
    assert report["update"]["frames"] == 20
    assert "reference, torch eager fp32 of the whole network" in "\n".join(table(report))
    assert report["reference"] is not None
    assert report["ratio"] == round(report["reference"]["p50_ms"] / report["update"]["p50_ms"], 2)
    assert set(report["peers"]) == {"peer"}
    alone = bench.run_bench(CountingBackend(), "fp32", clip, 10)
    assert alone["reference"] is None
    assert alone["ratio"] is None
    text = "\n".join(table(alone, json.loads(json.dumps(report))))
    assert re.search(r"reference +not measured", text)
    assert re.search(r"the tracker (holds|does not hold) 140 fps", text)
    assert re.search(r"update .* x the saved \d+\.\d+ ms", text)


def test_what_is_learned_after_a_box_is_timed_and_spread_over_the_frames() -> None:
    backend = CountingBackend()
    backend.config = TrackerConfig(template_memory=0.5, memory_frames=4)
    clip = draw_clip(3)
    step = bench.learn_step(backend, clip)
    assert step is not None
    templates, searches = backend.templates, backend.searches
    for index in range(5):
        step(index)
    assert (backend.templates - templates, backend.searches - searches) == (5, 0)
    report = bench.run_bench(backend, "fp32", clip, 20)
    assert report["learn"] is not None
    assert report["learn_every"] == 4
    each_ms = 1000 / report["update"]["fps"] + 1000 / report["learn"]["fps"] / 4
    assert report["sustained_fps"] == pytest.approx(1000 / each_ms, rel=1e-3)
    text = "\n".join(table(report))
    assert re.search(r"^learn +\d", text, re.MULTILINE)
    assert "with learning after every 4th box" in text
    backend.config = TrackerConfig()
    assert bench.learn_step(backend, clip) is None
    assert "learn" not in "\n".join(table(bench.run_bench(backend, "fp32", clip, 10)))


def test_a_flight_learns_in_its_turn() -> None:
    backend = CountingBackend()
    backend.config = TrackerConfig(template_memory=0.5, memory_frames=4, memory_score=0.0)
    step = bench.flight_step(backend, draw_clip(3))
    before = backend.templates
    for index in range(12):
        step(index)
    assert backend.templates - before == 3


def test_growth_is_what_the_updates_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    class Leaky(CountingBackend):
        def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
            kept.append(1)
            return super().predict(template, x)

    monkeypatch.setattr(bench, "rss_mb", lambda: 100.0 + len(kept))
    grown = bench.measure_growth(Leaky(), draw_clip(2), 30)
    before_mb = 100.0 + bench.GROWTH_WARM_UP
    assert grown == {"updates": 30, "before_mb": before_mb, "after_mb": before_mb + 30}
    monkeypatch.setattr(bench, "rss_mb", lambda: None)
    with pytest.raises(InputError, match="does not tell"):
        bench.measure_growth(Leaky(), draw_clip(2), 1)


def test_the_reference_is_the_model_s_own_network(fp32_folder: Path) -> None:
    backend = open_backend(fp32_folder, "openvino-f32", threads=1)
    assert _network_of(backend) == ("compact", "fp32")
    reference = _reference(None, "compact", dataclasses.replace(backend.config, size_lr=0.123))
    assert reference is not None
    assert reference.config.size_lr == 0.123, "the model's own settings, so the same crops"
    assert _network_of(reference) == ("compact", "fp32")
    assert reference is not None
    kernel = reference.encode_template(np.zeros((127, 127, 3), np.uint8)).kernel_cls
    assert kernel.shape == (1, 128, 4, 4)
    backend.close()
    assert _network_of(CountingBackend()) == ("alexnet", "fp32")


def test_the_reference_of_a_model_in_factors_is_the_whole_network() -> None:
    backend = open_backend(None, "openvino-f32", threads=1)
    assert "siamrpn-alexnet-factored" in backend.name
    reference = _reference(None, _network_of(backend)[0], backend.config)
    assert isinstance(reference, TorchBackend)
    assert reference.network == "alexnet"
    assert type(reference._net) is SiamRPN
    backend.close()


@pytest.mark.parametrize("network", ["alexnet", "compact"])
def test_random_weights_of_the_reference_answer_with_boxes(network: str) -> None:
    reference = _reference(None, network, TrackerConfig())
    assert reference is not None
    clip = draw_clip(2)
    bench.update_step(reference, clip)(1)  # a value that is not finite would be refused


def test_the_drawn_clip_holds_a_target_where_it_says() -> None:
    clip = draw_clip(12)
    again = draw_clip(12)
    assert len(clip.frames) == len(clip.boxes) == 12
    for frame, box, other in zip(clip.frames, clip.boxes, again.frames, strict=True):
        assert frame.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, other)
        x, y, w, h = (round(v) for v in box)
        assert 0 <= x <= WIDTH_PX - w
        assert 0 <= y <= HEIGHT_PX - h
        lamps = frame[y : y + h, x + w - 7 : x + w].max()
        assert lamps > 180
    assert np.mean(clip.frames[0]) < 40


def test_a_video_gives_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    for _ in range(4):
        writer.write(np.full((120, 160, 3), 60, np.uint8))
    writer.release()
    clip = read_clip(path, Box(10, 10, 20, 20), 3)
    assert len(clip.frames) == 3
    assert clip.boxes == [Box(10, 10, 20, 20)] * 3
    assert clip.name == "v.avi, 160x120"
    assert read_clip(path, None, 9).boxes[0] == Box(74, 54, 12, 12)
    with pytest.raises(BoxError, match="outside"):
        read_clip(path, Box(500, 10, 20, 20), 3)


def test_a_video_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_clip(tmp_path / "no.mp4", None, 3)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="holds no picture"):
        read_clip(tmp_path / "text.mp4", None, 3)


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine["cpus"] >= 1
    assert machine["cpu"]
    assert set(machine["cpu_flags"]) <= set(CPU_FLAGS)
    assert "openvino" in machine["versions"]
    assert json.loads(json.dumps(machine)) == machine


def test_a_gpu_is_described_by_its_own_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_machine()["gpu"] is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'RTX 3060, 580.1, 1425 MHz'\n")
    tool.chmod(0o755)
    assert describe_machine()["gpu"] == "RTX 3060, 580.1, 1425 MHz"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert describe_machine()["gpu"] is None


SAVED = '{"update": {"p50_ms": 5}, '


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "{}", '{"update": {}}', '{"update": null}', '{"update": {"p50_ms": 0}}',
        '{"update": {"p50_ms": "1"}}', '{"update": {"p50_ms": NaN}}',
        SAVED + '"engine": {"fps": 1}}', SAVED + '"host": 5}',
        SAVED + '"peers": {"csrt": [1]}}', SAVED + '"peers": 7}',
    ],
)  # fmt: skip
def test_saved_figures_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "saved.json"
    path.write_text(content)
    with pytest.raises(InputError, match="holds no figures of mlkd bench"):
        read_saved(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_saved(tmp_path / "absent.json")


def test_the_command_ends_with_one_line_of_json(
    fp32_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved.json"
    options = ["--model", str(fp32_folder), "--engine", "openvino", "--threads", "1"]
    options += ["--frames", "10", "--no-reference", "--save", str(saved)]
    extra = ["--growth", "20", "--cold-start", "1"]
    assert main(["bench", *options, *extra, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    report = json.loads(lines[-1])
    wanted = {"update", "engine", "reference", "host", "ratio", "machine"}
    assert wanted <= set(report)
    assert report["reference"] is None
    assert {"fps", "p50_ms", "p99_ms"} <= set(report["update"])
    assert not any(line.startswith("{") for line in lines[:-1])
    assert report["growth"]["updates"] == 20
    assert len(report["cold_start_s"]) == 1
    assert any(re.match(r"memory grew by -?\d+\.\d\d MB in 20 updates", line) for line in lines)
    assert any(re.match(r"process start to first box: \d+\.\d\d s", line) for line in lines)
    assert read_saved(saved) == report
    plot = tmp_path / "bench.svg"
    saved.write_text(json.dumps(report | {"peers": None, "clip": "another clip"}))
    again = ["--against", str(saved), "--plot", str(plot)]
    assert main(["bench", *options, *again]) == 0
    drawn = plot.read_text(encoding="utf-8")
    assert drawn.lstrip().startswith("<?xml")
    assert all(f">{name}<" in drawn for name in ("update", "engine", "host", "crop", "decode"))
    shown = capsys.readouterr().out
    assert "x the saved" in shown
    assert f"other frames than the saved figures': another clip, now {report['clip']}" in shown
    assert "other engine" not in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--frames", "3"], "--frames is 3: expected 10 or more"),
        (["--growth", "-1"], "--growth is -1: expected 0 or more"),
        (["--save", "absent/x.json"], "absent/x.json: its folder does not exist"),
        (["--plot", "absent/x.svg"], "absent/x.svg: its folder does not exist"),
        (["--cold-start", "-1"], "--cold-start is -1"),
        (["--box", "1,2,3,4"], "--box needs --video"),
        (["--video", "absent.mp4"], "absent.mp4 does not exist"),
        (["--video", "absent.mp4", "--box", "1,2,3"], "expected x,y,w,h"),
        (["--engine", "warp"], "engine is 'warp'"),
        (["--peer", "nothing"], "tracker 'nothing'"),
    ],
)
def test_bad_options_end_with_one_line_and_exit_code_2(
    fp32_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    expected: str,
) -> None:
    monkeypatch.setattr("exporter.cli_bench.CLIP_FRAMES", min(CLIP_FRAMES, 2))
    assert main(["bench", "--model", str(fp32_folder), *options]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
