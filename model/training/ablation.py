"""The ablation of the paper's Table II: every row under one budget and one list of seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.config import TrackerConfig
from model.enhance.media import write_image
from model.errors import InputError
from model.evaluation.ope import Progress, run_ope
from model.evaluation.peers import Opener, TrackerSpec
from model.evaluation.selection import criterion
from model.evaluation.sequences import Sequence as Video
from model.evaluation.table import Row, make_rows, score_runs
from model.nets.baselines import tracker_config
from model.training.ablation_table import Entry
from model.training.eager import open_checkpoint
from model.training.heatmaps import Moment, draw_row, read_moment
from model.training.mutual_config import MutualConfig
from model.training.mutual_loop import AVERAGE_FILE

TEACHER = "Teacher"
UNUSED = "Teacher on night crops (not what taught)"
BASELINE = "Baseline (where students start)"
UNTAUGHT = "Student w/o distillation"
WITHOUT = "Student w/o L_CRL"
MUTUAL = "MLKD-Track"

_AVERAGE = "average"
_TITLES = {
    "truth": UNTAUGHT,
    "none": WITHOUT,
    "l2": "Student 1 (L2), w/o ML",
    "spatial": "Student 2 (spatial), w/o ML",
    "threshold": "Student 3 (threshold), w/o ML",
}

Train = Callable[[MutualConfig, Path], list[Path]]
"""Trains one configuration into a folder and returns a checkpoint a student; resumes."""


@dataclass(frozen=True)
class Candidate:
    """One trained network.

    Attributes:
        title: row of the table that it belongs to.
        name: folder of its results.
        seed: of its training; None where nothing is trained.
        checkpoint: its weights.
        network: name of the baseline that it is, with an enhancer before it or without.
    """

    title: str
    name: str
    seed: int | None
    checkpoint: Path
    network: str


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        config: budget, data and weights of every run.
        seeds: one run of each row a seed.
        teacher: teacher file; it is evaluated, not trained.
        baseline: checkpoint that every student starts from; evaluated too.
        out: folder of runs and results.
    """

    config: MutualConfig
    seeds: tuple[int, ...]
    teacher: Path
    baseline: Path
    out: Path


def train_rows(plan: Plan, train: Train) -> list[Candidate]:
    """Train every row for every seed; finished runs are kept."""
    teacher, network = plan.config.teacher, plan.config.students.baseline
    title = UNUSED if teacher.sees == "clean" else TEACHER
    found = [
        Candidate(title, "teacher", None, plan.teacher, teacher.baseline),
        Candidate(BASELINE, "baseline", None, plan.baseline, network),
    ]
    losses = tuple(dict.fromkeys(plan.config.students.losses))
    alone = tuple(dict.fromkeys(("truth", "none", *losses)))
    for seed in plan.seeds:
        # Without L_ML nothing joins the students: side by side they see the same samples, and the
        # teacher answers once for all.
        config = _without_mutual(_variant(plan.config, alone, seed))
        folder = plan.out / "runs" / f"alone-seed{seed}"
        for student, path in zip(alone, train(config, folder), strict=True):
            name = f"{student}-seed{seed}"
            found.append(Candidate(_TITLES[student], name, seed, path, network))
        folder = plan.out / "runs" / f"mutual-seed{seed}"
        config = _variant(plan.config, plan.config.students.losses, seed)
        paths = dict(zip(config.students.names(), train(config, folder), strict=True))
        paths[_AVERAGE] = folder / AVERAGE_FILE
        for student, path in paths.items():
            name = f"mutual-{student}-seed{seed}"
            found.append(Candidate(f"{MUTUAL} room: {student}", name, seed, path, network))
    return found


def evaluate(
    candidates: Sequence[Candidate],
    videos: Sequence[Video],
    out: Path,
    progress: Progress | None = None,
    open_backend: Opener = open_checkpoint,
    jobs: int = 1,
    config: TrackerConfig | None = None,
) -> list[Entry]:
    """Track every video with every candidate; finished results are kept.

    Args:
        candidates: what is compared.
        videos: what is tracked.
        out: folder of results.
        progress: told of each finished sequence.
        open_backend: opens a checkpoint or a teacher.
        jobs: processes.
        config: tracker settings for all; the networks' published ones by default. Sizes and
            anchors stay each network's own.

    Returns:
        One `Entry` a candidate and condition; the best student of each seed's room stands once more
        as `MLKD-Track`, chosen by the mean success AUC over the conditions of these videos.
    """
    specs = [
        TrackerSpec("engine", c.name, c.checkpoint, config=settings_for(c.network, config))
        for c in candidates
    ]
    run_ope(specs, videos, out, jobs, open_backend, progress)
    rows = make_rows(score_runs(out, [spec.name for spec in specs], videos))
    chosen = [*candidates, *best_of_rooms(candidates, rows)]
    return [_entry(c, row) for c in chosen for row in rows if row.tracker == c.name]


def settings_for(network: str, wanted: TrackerConfig | None) -> TrackerConfig | None:
    """The wanted settings on a network's own geometry; None where nothing is wanted."""
    if wanted is None:
        return None
    own = tracker_config(network)
    geometry = ("template_px", "search_px", "score_size", "stride", "anchor_scale", "anchor_ratios")
    if all(getattr(own, name) == getattr(TrackerConfig(), name) for name in geometry):
        return wanted
    return replace(wanted, **{name: getattr(own, name) for name in geometry})


def find_moment(videos: Sequence[Video], name: str, frame: int) -> Moment:
    """Look up a frame to draw similarity maps of.

    Raises:
        InputError: no sequence of that name, no such frame, or the target is absent from it.
    """
    found = [video for video in videos if video.name == name]
    if not found:
        known = ", ".join(video.name for video in videos)
        raise InputError(f"no sequence {name!r} to draw; known: {known}")
    return read_moment(found[0], frame)


def draw_heat(
    out: Path, candidates: Sequence[Candidate], moment: Moment, name: str, frame: int
) -> Path:
    """Draw the similarity maps of every candidate of the first seed over one search region.

    Args:
        out: folder of the picture.
        candidates: whose maps are drawn.
        moment: the frame, of `find_moment`.
        name, frame: for the picture's name.
    """
    seeds = [c.seed for c in candidates if c.seed is not None]
    shown = [c for c in candidates if c.seed in (None, *seeds[:1])]
    row = draw_row({c.name: open_checkpoint(c.checkpoint) for c in shown}, moment)
    path = out / f"heat-{name}-{frame}.png"
    write_image(path, row)
    return path


def best_of_rooms(candidates: Sequence[Candidate], rows: Sequence[Row]) -> list[Candidate]:
    """The best student of each seed's room, under the title `MLKD-Track`; their mean is none."""
    rooms: dict[int | None, list[Candidate]] = {}
    for candidate in candidates:
        average = candidate.title.endswith(f": {_AVERAGE}")
        if candidate.title.startswith(f"{MUTUAL} room") and not average:
            rooms.setdefault(candidate.seed, []).append(candidate)
    best = [max(room, key=lambda c: criterion(rows, c.name)) for room in rooms.values()]
    return [replace(candidate, title=MUTUAL) for candidate in best]


def _entry(candidate: Candidate, row: Row) -> Entry:
    score = row.score
    return Entry(
        candidate.title,
        row.condition,
        candidate.seed,
        {
            "success": score.auc,
            "norm": score.norm_precision_mean,
            "precision": score.precision_at_20,
            "fps": row.fps,
        },
    )


def _without_mutual(config: MutualConfig) -> MutualConfig:
    return replace(config, distill=replace(config.distill, mutual_weight=0.0))


def _variant(config: MutualConfig, losses: tuple[str, ...], seed: int) -> MutualConfig:
    run = replace(config.train.run, seed=seed)
    students = replace(config.students, losses=losses)
    return replace(config, train=replace(config.train, run=run), students=students)
