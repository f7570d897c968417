"""`mlkd sim`: the simulator's own verbs, and `sim run`, the closed loop."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drone.frame import Frame
    from gcs.follow_config import FollowConfig
    from gcs.sim_trials import Begin, Trial
    from gcs.target import Answer, Target
    from model.geometry import Box
    from model.tracker import Tracker


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `sim` with all its verbs."""
    from drone.cli_sim import add_verbs

    parser = sub.add_parser("sim", help="the night simulator: draw it, or fly the closed loop")
    verbs = parser.add_subparsers(dest="sim_verb", required=True, metavar="VERB")
    add_verbs(verbs)
    fly = verbs.add_parser("run", help="fly trials of the closed loop, print and draw figures")
    fly.add_argument("trial", metavar="TRIAL", help="a trial's name, or all")
    fly.add_argument("--seconds", type=float, default=30.0, metavar="S", help="default 30")
    fly.add_argument("--oracle", action="store_true", help="noisy truth in the tracker's place")
    fly.add_argument("--level", choices=("camera", "follow"), default="follow")
    fly.add_argument("--width", type=int, metavar="PX", help="another frame width, as 640")
    fly.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="another gain or limit, as clamp=0.4",
    )
    fly.add_argument(
        "--out",
        type=Path,
        default=Path("runs/sim"),
        metavar="DIR",
        help="where curves (SVG) and figures (JSON) go; default runs/sim",
    )
    fly.add_argument("--engine", default="auto", help="as listed by `mlkd bench --help`")
    fly.add_argument("--model", type=Path, help="a model folder; the shipped one by default")
    fly.add_argument("--json", action="store_true", help="print the figures as JSON")
    fly.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fly, print the table, write curves and figures.

    Returns:
        0 when every trial that is held to the figures reached them, else 1.

    Raises:
        InputError: an unknown trial, setting or model, or a folder that cannot be written.
    """
    from gcs.sim_report import as_dict, draw_curves, figures_of, table
    from gcs.sim_run import ClosedLoop
    from gcs.sim_trials import choose_trials
    from gcs.situation import ControlLevel

    trials = choose_trials(arguments.trial)
    config = read_config(arguments.changes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with ExitStack() as stack:
        begin, name = _begin(arguments, stack)
        for trial in trials:
            loop = ClosedLoop(
                trial,
                begin,
                config,
                level=ControlLevel[arguments.level.upper()],
                width_px=arguments.width,
            )
            with closing(_Bar(trial, arguments.seconds)) as bar:
                flown = loop.fly(arguments.seconds, bar.to)
            rows.append(figures_of(flown))
            curves = arguments.out / f"{trial.name}.svg"
            curves.write_text(draw_curves(flown), encoding="utf-8")
    figures = {"tracker": name, "trials": [as_dict(row) for row in rows]}
    text = json.dumps(figures, indent=1)
    (arguments.out / "figures.json").write_text(text + "\n", encoding="utf-8")
    print(text if arguments.json else f"{table(rows)}\nwith {name}; curves in {arguments.out}")
    return 0 if all(row.reached or row.hard for row in rows) else 1


def read_config(changes: list[str]) -> FollowConfig:
    """Read NAME=VALUE pairs into a config.

    Raises:
        ConfigError: a name is unknown, a value is no number, or limits contradict each other.
    """
    from gcs.follow_config import FollowConfig
    from model.config import build_config
    from model.errors import ConfigError

    values: dict[str, object] = {}
    for change in changes:
        name, _, value = change.partition("=")
        try:
            values[name.strip()] = json.loads(value)
        except ValueError:
            raise ConfigError(f"--set {change!r}: expected NAME=NUMBER, as clamp=0.4") from None
    return build_config(FollowConfig, values)


class TargetFollower:
    """The ground station's target, fed with frames."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def update(self, frame: Frame) -> Answer:
        """Find the target in the next frame."""
        return self._target.update(frame.image)


def _begin(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Begin, str]:
    """Give what learns a target, and its name."""
    from gcs.sim_trials import Oracle

    if arguments.oracle:
        return (lambda _frame, box: Oracle(box)), "oracle (truth with noise)"
    from exporter.runtime.open import open_backend
    from gcs.target import Target
    from model.confidence import ConfidenceConfig
    from model.tracker import Tracker

    backend = stack.enter_context(closing(open_backend(arguments.model, arguments.engine)))
    tracker: Tracker = Tracker(backend)

    def begin(frame: Frame, box: Box) -> TargetFollower:
        return TargetFollower(Target(tracker, ConfidenceConfig(), frame.image, box))

    return begin, backend.name


class _Bar:
    """A progress bar over simulated seconds; silent where nobody looks."""

    def __init__(self, trial: Trial, seconds: float) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=seconds, desc=trial.name, unit=" s", disable=not sys.stderr.isatty(), leave=False
        )

    def to(self, time_s: float) -> None:
        """Show a simulated time."""
        self._bar.update(round(time_s - self._bar.n, 2))

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
