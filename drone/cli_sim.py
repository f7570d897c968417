"""`mlkd sim`: look at the night simulator without a ground station."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from drone.errors import SourceError
from drone.frame import TruthBox


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `sim` with its own verbs."""
    parser = sub.add_parser("sim", help="render or list the night simulator's scenarios")
    add_verbs(parser.add_subparsers(dest="sim_verb", required=True, metavar="VERB"))


def add_verbs(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `render` and `list` to a parser of `sim`."""
    render = sub.add_parser("render", help="draw a scenario into a video, with truth boxes")
    render.add_argument("scenario", help="name of a scenario; see `mlkd sim list`")
    render.add_argument("--frames", type=int, default=300, metavar="N", help="default 300")
    render.add_argument("--out", type=Path, required=True, help="video to write, .mp4 or .mkv")
    render.add_argument("--truth", type=Path, help="write the target's x,y,w,h, one line a frame")
    render.add_argument("--seed", type=int, help="another town, other traffic")
    render.set_defaults(run=run_render)
    listing = sub.add_parser("list", help="list the scenarios")
    listing.set_defaults(run=run_list)


def run_list(_: argparse.Namespace) -> int:
    """Print every scenario with its description."""
    from drone.simulator import SCENARIOS

    for scenario in SCENARIOS.values():
        print(f"{scenario.name:12}  {scenario.description}")
    return 0


def run_render(arguments: argparse.Namespace) -> int:
    """Draw `--frames` frames in simulated time.

    Raises:
        SourceError: unknown scenario, no frames asked for, or a place that cannot be written.
    """
    from dataclasses import replace

    from tqdm import tqdm

    from drone.simulator import NightSimulator
    from drone.simulator.scenarios import scenario_by_name
    from drone.video_writer import VideoWriter

    scenario = scenario_by_name(arguments.scenario)
    if arguments.seed is not None:
        scenario = replace(scenario, seed=arguments.seed)
    if arguments.frames < 1:
        raise SourceError(f"--frames {arguments.frames}: expected 1 or more")
    if arguments.truth is not None and not arguments.truth.parent.is_dir():
        raise SourceError(f"{arguments.truth}: its folder does not exist; create it first")
    simulator = NightSimulator(scenario)
    shown = 0
    with ExitStack() as stack:
        video = VideoWriter(arguments.out, scenario.fps)
        stack.callback(video.close)
        truth = None
        if arguments.truth is not None:
            truth = stack.enter_context(arguments.truth.open("w", encoding="utf-8"))
        for _ in tqdm(range(arguments.frames), unit=" frames", disable=not sys.stderr.isatty()):
            frame = simulator.step()
            video.write(frame.image)
            box = frame.truth["target"]
            shown += box is not None
            if truth is not None:
                truth.write(_line(box))
    print(f"{arguments.frames} frames, the target seen in {shown}: {arguments.out}")
    return 0


def _line(box: TruthBox | None) -> str:
    return "nan,nan,nan,nan\n" if box is None else ",".join(f"{v:.2f}" for v in box) + "\n"
