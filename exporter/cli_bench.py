"""`mlkd bench`: how fast the tracker runs here, against the reference's way."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from model.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from exporter.bench import Report, Timing
    from exporter.scene import Clip
    from model.backend import Backend
    from model.config import TrackerConfig
    from model.evaluation.peers import PeerTracker

STAGES = ("update", "learn", "engine", "host", "crop", "decode", "reference")
"""`update` is from a frame to its box; `host` is all of it but the engine, `crop` and `decode` are
its parts. `learn` follows every so many boxes."""
REAL_TIME_FPS = 140
"""What the paper calls real time, on a laptop's GPU."""
CLIP_FRAMES = 40
"""Frames held in memory; longer runs go over them again."""


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = sub.add_parser(
        "bench",
        help="measure engine, update and reference times",
        description="Measure engine, whole update and reference (torch eager fp32, one pass) in "
        "interleaved rounds of one run.",
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="model folder (default: built in)"
    )
    parser.add_argument("--engine", default="auto", help="engine, as of mlkd serve (default: auto)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: the fastest count)")
    parser.add_argument("--frames", type=int, default=300, help="updates measured (default: 300)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="frames of a video instead")
    parser.add_argument("--box", metavar="X,Y,W,H", help="target in the video's first frame, px")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="weights of the reference (default: random ones of the model's network)",
    )
    parser.add_argument("--no-reference", action="store_true", help="leave the reference out")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME",
        help="another tracker, as of mlkd eval: csrt, nano:DIR; may be repeated",
    )
    parser.add_argument(
        "--cold-start",
        type=int,
        default=0,
        metavar="TIMES",
        help="also time so many processes from their start to the first box",
    )
    parser.add_argument(
        "--growth",
        type=int,
        default=0,
        metavar="UPDATES",
        help="also watch the memory over so many updates, as 10000",
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with saved figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures as SVG")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from tqdm import tqdm

    from exporter.bench import ROUNDS, measure_growth, run_bench
    from exporter.cold_start import measure_cold_start
    from exporter.runtime.open import open_backend

    if arguments.frames < ROUNDS:
        raise InputError(f"--frames is {arguments.frames}: expected {ROUNDS} or more")
    for name in ("cold_start", "growth"):
        if (count := getattr(arguments, name)) < 0:
            raise InputError(f"--{name.replace('_', '-')} is {count}: expected 0 or more")
    for out in (arguments.save, arguments.plot):
        if out is not None and not out.parent.is_dir():
            raise InputError(f"{out}: its folder does not exist; create it first")
    saved = read_saved(arguments.against) if arguments.against else None
    clip = _clip(arguments)
    peers = _peers(arguments.peer, clip)
    engine = (arguments.model, arguments.engine, arguments.threads)
    cold_start_s = measure_cold_start(*engine, arguments.cold_start)
    backend = open_backend(*engine)
    network, precision = _network_of(backend)
    reference = None
    if not arguments.no_reference:
        reference = _reference(arguments.checkpoint, network, backend.config)
    learns = backend.config.template_memory > 0
    turns = ROUNDS * (5 + learns + (reference is not None) + len(peers))
    try:
        with tqdm(total=turns, unit="turn", disable=not sys.stderr.isatty()) as bar:
            report = run_bench(
                backend, precision, clip, arguments.frames, reference, peers, lambda: bar.update()
            )
        report["cold_start_s"] = cold_start_s or None
        if arguments.growth:
            report["growth"] = measure_growth(backend, clip, arguments.growth)
    finally:
        backend.close()
    print("\n".join(table(report, saved)))
    if arguments.save:
        arguments.save.write_text(json.dumps(report) + "\n", encoding="utf-8")
    if arguments.plot:
        arguments.plot.write_bytes(draw(report, saved))
        print(f"drawn to {arguments.plot}")
    if arguments.json:
        print(json.dumps(report))
    return 0


def draw(report: Report, saved: Mapping[str, Any] | None = None) -> bytes:
    """SVG: the median of each contender as a bar with marks at p95 and p99; saved ones in grey.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from model.evaluation.plots import as_svg, new_figure

    rows = {name: value for name, value in report.items() if name in STAGES and value}
    rows |= report["peers"]
    figure, axes = new_figure(7.0, 0.45 * len(rows) + 1.2)
    for place, (name, timing) in enumerate(rows.items()):
        values = cast("Timing", timing)
        before = None if saved is None else (saved.get(name) or saved["peers"].get(name))
        if before:
            axes.barh(place, before["p50_ms"], 0.8, color="lightgrey")
        axes.barh(place, values["p50_ms"], 0.5, color="C0")
        axes.plot([values["p95_ms"], values["p99_ms"]], [place, place], "k|")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set(xlabel="ms a pass: median, p95, p99", title=report["name"])
    return as_svg(figure)


def read_saved(path: Path) -> Mapping[str, Any]:
    """Read figures that `--save` or `--json` wrote; the last line counts.

    Raises:
        InputError: missing, or no such figures.
    """
    try:
        return _figures_in(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"{path} holds no figures of mlkd bench: expected what --save or --json wrote"
        ) from error


def _figures_in(text: str) -> Mapping[str, Any]:
    values = dict(json.loads(text.strip().splitlines()[-1]))
    values["peers"] = dict(values.get("peers") or {})
    timings = [
        values["update"] or {},
        *(values.get(name) for name in STAGES),
        *values["peers"].values(),
    ]
    if not all(timing is None or 0 < 1 / timing["p50_ms"] < math.inf for timing in timings):
        raise ValueError("a duration is none")
    return values


def table(report: Report, saved: Mapping[str, Any] | None = None) -> list[str]:
    """Lay the figures out for reading."""
    machine = report["machine"]
    lines = [
        f"engine    {report['name']}",
        f"machine   {machine['cpu']}, {machine['cpus']} CPUs ({' '.join(machine['cpu_flags'])})",
        *([f"gpu       {machine['gpu']}"] if machine["gpu"] else []),
        f"versions  {', '.join(f'{k} {v}' for k, v in machine['versions'].items())}",
        f"frames    {report['clip']}",
        f"{'':<12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'fps':>9}",
    ]
    rows: dict[str, Any] = {name: value for name, value in report.items() if name in STAGES}
    for name, timing in (rows | dict(report["peers"])).items():
        if timing is None and name == "learn":
            continue
        if timing is None:
            lines.append(f"{name:<12}not measured: torch is not installed, or it was left out")
            continue
        line = f"{name:<12}{timing['p50_ms']:9.3f}{timing['p95_ms']:9.3f}{timing['p99_ms']:9.3f}"
        lines.append(f"{line}{timing['fps']:9.1f}{_change(name, timing, saved)}")
    if report["ratio"] is not None:
        whole = report["reference_network"] or "network"
        lines.append(
            f"update is {report['ratio']:.1f} times as fast as the reference, torch eager fp32 of "
            f"the whole {whole}"
        )
    if report["learn"] is not None:
        every, fps = report["learn_every"], report["sustained_fps"]
        lines.append(f"with learning after every {every}th box: {fps:.1f} frames a second")
    holds = "holds" if report["sustained_fps"] >= REAL_TIME_FPS else "does not hold"
    lines.append(f"the tracker {holds} {REAL_TIME_FPS} fps")
    lines += _process_lines(report)
    if machine["load_1min"] is not None and machine["load_1min"] > machine["cpus"]:
        lines.append(f"load is {machine['load_1min']}: other work slows these figures down")
    return lines + ([] if saved is None else _differences(report, saved))


def _differences(report: Report, saved: Mapping[str, Any]) -> list[str]:
    """Say what else than the code differs from saved figures."""
    machine = saved.get("machine")
    known = machine if isinstance(machine, Mapping) else {}
    pairs = {
        "engine": (saved.get("name"), report["name"]),
        "frames": (saved.get("clip"), report["clip"]),
        "processor": (known.get("cpu"), report["machine"]["cpu"]),
        "limit of instructions": (known.get("isa_limit"), report["machine"]["isa_limit"]),
    }
    return [
        f"other {name} than the saved figures': {before}, now {now}"
        for name, (before, now) in pairs.items()
        if before != now
    ]


def _process_lines(report: Report) -> list[str]:
    """Spread, memory and start of the process."""
    update, grown = report["update"], report["growth"]
    lines = [f"update's p99 is {update['p99_ms'] / update['p50_ms']:.2f} x its p50"]
    if report["machine"]["rss_mb"] is not None:
        lines.append(f"memory of the process: {report['machine']['rss_mb']:.0f} MB")
    if grown is not None:
        more_mb = grown["after_mb"] - grown["before_mb"]
        lines.append(f"memory grew by {more_mb:.2f} MB in {grown['updates']} updates")
    if report["cold_start_s"]:
        shown = ", ".join(f"{s:.2f}" for s in report["cold_start_s"])
        lines.append(f"process start to first box: {shown} s")
    return lines


def _change(name: str, timing: Mapping[str, Any], saved: Mapping[str, Any] | None) -> str:
    before = None if saved is None else (saved.get(name) or saved["peers"].get(name))
    if not before:
        return ""
    return f"   {timing['p50_ms'] / before['p50_ms']:.2f} x the saved {before['p50_ms']:.3f} ms"


def _clip(arguments: argparse.Namespace) -> Clip:
    from exporter.scene import draw_clip, read_clip
    from model.geometry import Box

    if arguments.video is None:
        if arguments.box is not None:
            raise InputError("--box needs --video: the drawn scene knows its target")
        return draw_clip(CLIP_FRAMES)
    box = None
    if arguments.box is not None:
        try:
            box = Box(*(float(v) for v in arguments.box.split(",")))
        except (ValueError, TypeError):
            raise InputError(f"--box is {arguments.box!r}: expected x,y,w,h in px") from None
    return read_clip(arguments.video, box, CLIP_FRAMES)


def _network_of(backend: Backend) -> tuple[str, str]:
    """Network and precision of an engine's model."""
    from exporter.runtime.graphs import GraphBackend

    if not isinstance(backend, GraphBackend):
        return getattr(backend, "network", "alexnet"), "fp32"
    manifest = backend.model.manifest
    return manifest.source.get("network", "alexnet"), manifest.precision


def _reference(checkpoint: Path | None, network: str, config: TrackerConfig) -> Backend | None:
    """Torch eager fp32 on the same crops; None where torch is not installed.

    Of the model's network; of the whole one where the model is that in factors.
    """
    try:
        import torch
    except ModuleNotFoundError:
        if checkpoint is not None:
            raise MissingExtraError("torch", "train") from None
        return None
    from exporter.runtime.torch import TorchBackend
    from model.nets.baselines import build_baseline

    if checkpoint is not None:
        return TorchBackend.from_checkpoint(checkpoint, config)
    torch.manual_seed(0)
    net = build_baseline(network, config.anchors_per_cell)
    for name, parameter in net.named_parameters():
        if ".head.3." in name:  # random deltas of a deep network overflow
            torch.nn.init.zeros_(parameter)
    return TorchBackend(net, config, network)


def _peers(names: list[str], clip: Clip) -> dict[str, Callable[[int], object]]:
    from model.evaluation.peers import TrackerOpener, parse_spec

    opener = TrackerOpener(None)
    steps: dict[str, Callable[[int], object]] = {}
    for text in names:
        spec = parse_spec(text)
        tracker = opener.open(spec)
        tracker.init(clip.frames[0], clip.boxes[0])
        steps[spec.name] = _peer_step(tracker, clip)
    return steps


def _peer_step(tracker: PeerTracker, clip: Clip) -> Callable[[int], object]:
    return lambda index: tracker.update(clip.frames[index % len(clip.frames)])
