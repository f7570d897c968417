"""Benchmark: engine, whole update and reference, interleaved, on one machine in one run."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np

from exporter.machine import Machine, describe_machine, rss_mb
from exporter.scene import Clip
from model.backend import Backend, Template
from model.config import TrackerConfig
from model.crop import crop_region, mean_colour, region_of
from model.decode import Decoder
from model.errors import InputError
from model.geometry import Float, Image
from model.tracker import Tracker

ROUNDS = 10
WARM_UP = 5
"""Passes of each contender before the first round."""
LEAD_IN = 2
"""Untimed passes at the start of each turn: in flight no other contender comes in between and
leaves its threads spinning and its data in the caches."""
GROWTH_WARM_UP = 200
"""Updates before memory is read: allocators settle in them."""

_clock = time.perf_counter_ns


class Timing(TypedDict):
    """Durations of one contender, ms, and the rate of its mean."""

    fps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    frames: int


class Growth(TypedDict):
    """Memory of the process over many updates, MB."""

    updates: int
    before_mb: float
    after_mb: float


class Report(TypedDict):
    """What `mlkd bench --json` ends with.

    Attributes:
        update: from a frame to its box.
        learn: what follows every `learn_every` frames once the box is out; None without a memory.
        sustained_fps: frames a second with what is learned spread over them.
        reference_network: name of the network that the reference runs, never in factors.
    """

    update: Timing
    learn: Timing | None
    learn_every: int
    sustained_fps: float
    engine: Timing
    reference: Timing | None
    reference_network: str | None
    host: Timing
    crop: Timing
    decode: Timing
    ratio: float | None
    peers: dict[str, Timing]
    name: str
    precision: str
    clip: str
    memory_growth_mb: float | None
    growth: Growth | None
    cold_start_s: list[float] | None
    machine: Machine


@dataclass
class Contender:
    """Something that is timed frame by frame.

    Attributes:
        label: its name in the report.
        step: does the work of one frame, given the frame's index.
        share: its part of the frames; a slow contender gets fewer.
    """

    label: str
    step: Callable[[int], object]
    share: float = 1.0
    durations_ns: list[int] = field(default_factory=list)


class Replay:
    """A backend without an engine: it answers with one recorded pair of maps.

    What an update costs around it is the host's own work.
    """

    name = "replay"

    def __init__(self, config: TrackerConfig, cls: Float, loc: Float) -> None:
        self.config = config
        self._maps = cls.copy(), loc.copy()

    def encode_template(self, z: Image) -> Template:
        """Answer kernels that nothing reads."""
        kernel: Float = np.zeros((1, 1, 1, 1), np.float32)
        return Template(kernel, kernel)

    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        """Answer the recorded maps."""
        return self._maps

    def close(self) -> None:
        """Nothing to free."""


def update_step(backend: Backend, clip: Clip) -> Callable[[int], object]:
    """From a frame to its box, always from the known box of the frame before."""
    tracker = Tracker(backend)
    state = tracker.init(clip.frames[0], clip.boxes[0])
    states = [replace(state, box=box) for box in clip.boxes]
    count = len(clip.frames)

    def step(index: int) -> object:
        return tracker.answer(states[index % count - 1], clip.frames[index % count])

    return step


def learn_step(backend: Backend, clip: Clip) -> Callable[[int], object] | None:
    """What follows a box when it is time to learn from it; None where nothing is learned."""
    tracker = Tracker(backend)
    first = tracker.init(clip.frames[0], clip.boxes[0])
    if first.memory is None:
        return None
    due = replace(first, memory=replace(first.memory, frames=backend.config.memory_frames))
    count = len(clip.frames)

    def step(index: int) -> object:
        here = replace(due, box=clip.boxes[index % count])
        return tracker.learn(here, 1.0, clip.frames[index % count])

    return step


def flight_step(backend: Backend, clip: Clip) -> Callable[[int], object]:
    """A whole `Tracker.update`, learning in its turn, on one state as in a flight."""
    tracker = Tracker(backend)
    state = tracker.init(clip.frames[0], clip.boxes[0])
    count = len(clip.frames)

    def step(index: int) -> object:
        nonlocal state
        before = replace(state, box=clip.boxes[index % count - 1])
        state, result = tracker.update(before, clip.frames[index % count])
        return result

    return step


def engine_step(backend: Backend, clip: Clip) -> Callable[[int], object]:
    """One pass of the search graph on a crop that is ready."""
    side, small = backend.config.search_px, backend.config.template_px
    crop = np.ascontiguousarray(clip.frames[0][:side, :side])
    template = backend.encode_template(np.ascontiguousarray(clip.frames[0][:small, :small]))
    return lambda _: backend.predict(template, crop)


def host_step(backend: Backend, clip: Clip) -> Callable[[int], object]:
    """An update whose engine answers at once."""
    tracker = Tracker(backend)
    state = tracker.init(clip.frames[0], clip.boxes[0])
    side = backend.config.search_px
    crop = np.ascontiguousarray(clip.frames[0][:side, :side])
    cls, loc = backend.predict(state.template, crop)
    return update_step(Replay(backend.config, cls, loc), clip)


def crop_step(backend: Backend, clip: Clip) -> Callable[[int], object]:
    """Cut the search region out of a frame."""
    config = backend.config
    regions = [region_of(box, config, search=True) for box in clip.boxes]
    out = np.empty((config.search_px, config.search_px, 3), np.uint8)
    padding = mean_colour(clip.frames[0])
    count = len(clip.frames)

    def step(index: int) -> object:
        frame, region = clip.frames[index % count], regions[index % count - 1]
        return crop_region(frame, region, config.search_px, padding, out)

    return step


def decode_step(config: TrackerConfig) -> Callable[[int], object]:
    """Choose a box from two maps."""
    decoder = Decoder(config)
    size, anchors = config.score_size, config.anchors_per_cell
    rng = np.random.default_rng(0)
    cls = rng.normal(0, 2, (2 * anchors, size, size)).astype(np.float32)
    loc = rng.normal(0, 0.3, (4 * anchors, size, size)).astype(np.float32)
    return lambda _: decoder.select(cls, loc, 60.0, 40.0)


def schedule(frames: int, contenders: Sequence[Contender]) -> Iterator[tuple[Contender, int, int]]:
    """Interleave: in each round every contender runs a part of its frames.

    Yields:
        A contender, its first frame's index and the count of this round.
    """
    for turn in range(ROUNDS):
        for contender in contenders:
            total = max(ROUNDS, round(frames * contender.share))
            start, stop = total * turn // ROUNDS, total * (turn + 1) // ROUNDS
            yield contender, start, stop - start


def run_contenders(
    frames: int, contenders: Sequence[Contender], tick: Callable[[], object] = lambda: None
) -> None:
    """Warm each contender up, then time all of them in turns; `tick` is called once a turn."""
    for contender in contenders:
        for index in range(WARM_UP):
            contender.step(index)
    for contender, start, count in schedule(frames, contenders):
        for _ in range(LEAD_IN):
            contender.step(start)
        for index in range(start, start + count):
            begun = _clock()
            contender.step(index)
            contender.durations_ns.append(_clock() - begun)
        tick()


def measure_growth(backend: Backend, clip: Clip, updates: int) -> Growth:
    """Update again and again, and read the process's memory before and after.

    Raises:
        InputError: this system does not tell it.
    """
    step = flight_step(backend, clip)
    for index in range(GROWTH_WARM_UP):
        step(index)
    gc.collect()
    before_mb = rss_mb()
    for index in range(updates):
        step(index)
    gc.collect()
    after_mb = rss_mb()
    if before_mb is None or after_mb is None:
        raise InputError("--growth: this system does not tell a process's memory (Linux does)")
    return Growth(updates=updates, before_mb=round(before_mb, 2), after_mb=round(after_mb, 2))


def summarise(durations_ns: Sequence[int]) -> Timing:
    """Percentiles of some durations."""
    ms = np.asarray(durations_ns, np.float64) / 1e6
    p50, p95, p99 = (round(float(v), 4) for v in np.percentile(ms, (50, 95, 99)))
    return Timing(
        fps=round(1000 / float(ms.mean()), 2), p50_ms=p50, p95_ms=p95, p99_ms=p99, frames=ms.size
    )


def run_bench(
    backend: Backend,
    precision: str,
    clip: Clip,
    frames: int,
    reference: Backend | None = None,
    peers: dict[str, Callable[[int], object]] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Report:
    """Measure.

    Args:
        backend: the engine.
        precision: of its model.
        clip: frames to work on.
        frames: updates of the engine; the reference gets a fifth, peers a tenth.
        reference: torch eager fp32, where torch is installed.
        peers: other trackers' steps by name.
        tick: called after each of `turns` turns, for a progress bar.
    """
    own = {
        "update": Contender("update", update_step(backend, clip)),
        "engine": Contender("engine", engine_step(backend, clip)),
        "host": Contender("host", host_step(backend, clip)),
        "crop": Contender("crop", crop_step(backend, clip)),
        "decode": Contender("decode", decode_step(backend.config)),
    }
    if (learn := learn_step(backend, clip)) is not None:
        own["learn"] = Contender("learn", learn, share=0.2)
    if reference is not None:
        own["reference"] = Contender("reference", update_step(reference, clip), share=0.2)
    others = {name: Contender(name, step, share=0.1) for name, step in (peers or {}).items()}
    before_mb = rss_mb()
    run_contenders(frames, [*own.values(), *others.values()], tick)
    after_mb = rss_mb()
    for index in range(WARM_UP):  # a GPU that waited for the others has lowered its clocks
        own["engine"].step(index)
    machine = describe_machine()
    timings = {name: summarise(c.durations_ns) for name, c in own.items()}
    slow = timings.get("reference")
    ratio = round(slow["p50_ms"] / timings["update"]["p50_ms"], 2) if slow else None
    known = before_mb is not None and after_mb is not None
    every = backend.config.memory_frames
    each_ms = 1000 / timings["update"]["fps"]
    if "learn" in timings:
        each_ms += 1000 / timings["learn"]["fps"] / every
    return Report(
        update=timings["update"],
        learn=timings.get("learn"),
        learn_every=every,
        sustained_fps=round(1000 / each_ms, 2),
        engine=timings["engine"],
        reference=slow,
        reference_network=getattr(reference, "network", None),
        host=timings["host"],
        crop=timings["crop"],
        decode=timings["decode"],
        ratio=ratio,
        peers={name: summarise(c.durations_ns) for name, c in others.items()},
        name=backend.name,
        precision=precision,
        clip=clip.name,
        memory_growth_mb=round(after_mb - before_mb, 1) if known else None,  # type: ignore[operator]
        growth=None,
        cold_start_s=None,
        machine=machine,
    )
