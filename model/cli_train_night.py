"""The distillation stages of `mlkd train`: teacher, student, mutual, ablation, enhancer."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.evaluation.peers import Opener
    from model.training.mutual_config import MutualConfig
    from model.training.night_teacher import NightTeacher

LOSSES = ("l2", "spatial", "threshold", "none", "truth")


def add_stages(
    stages: argparse._SubParsersAction[argparse.ArgumentParser], open_backend: Opener | None
) -> None:
    """Register the stages under the verb `train`; `open_backend` is for the ablation."""
    teacher = stages.add_parser("teacher", help="join an enhancer and a baseline in one file")
    teacher.add_argument("--config", type=Path, required=True, help="YAML training file")
    teacher.add_argument("--out", type=Path, required=True, help="teacher file to write")
    _add_parts(teacher)
    teacher.set_defaults(run=_run_teacher)
    mutual = stages.add_parser("mutual", help="train the students in the mutual-learning room")
    _add_run(mutual)
    mutual.set_defaults(run=_run_mutual, student=None)
    student = stages.add_parser("student", help="train one student, without mutual learning")
    _add_run(student)
    student.add_argument(
        "--student",
        choices=LOSSES,
        required=True,
        help="its correlation loss; none is without, truth without a teacher",
    )
    student.set_defaults(run=_run_mutual)
    ablation = stages.add_parser("ablation", help="train and evaluate all rows of Table II")
    _add_run(ablation, seed=False)
    ablation.add_argument("--seeds", default="1,2,3", help="one run of each row a seed")
    ablation.add_argument(
        "--eval-data", type=Path, required=True, help="folder of sequences with ground truth"
    )
    ablation.add_argument(
        "--night", type=int, action="append", metavar="SEED", help="add them darkened by this seed"
    )
    ablation.add_argument("--night-only", action="store_true", help="leave the day ones out")
    ablation.add_argument(
        "--frames", type=int, metavar="N", help="the first N frames of each alone"
    )
    ablation.add_argument(
        "--heat", action="append", default=[], metavar="NAME:FRAME", help="draw similarity maps"
    )
    ablation.add_argument(
        "--jobs", type=int, default=1, help="processes of the evaluation (default: 1)"
    )
    ablation.set_defaults(run=_run_ablation, open_backend=open_backend)
    bench = stages.add_parser("bench", help="training speed against the reference way, one run")
    bench.add_argument("--config", type=Path, required=True, help="YAML training file")
    _add_parts(bench)
    bench.add_argument("--rounds", type=int, default=5, help="timed steps a way (default: 5)")
    bench.add_argument("--batch", type=int, default=None, help="pairs a step (default: config's)")
    bench.set_defaults(run=_run_bench)
    enhancer = stages.add_parser("enhancer", help="train a DarkLighter from low-light images")
    enhancer.add_argument("--images", type=Path, required=True, help="folder of low-light images")
    enhancer.add_argument("--out", type=Path, required=True, help="folder of the run")
    enhancer.add_argument("--steps", type=int, default=2000, help="default: 2000")
    enhancer.add_argument("--batch", type=int, default=8, help="images a step (default: 8)")
    enhancer.add_argument("--size", type=int, default=128, help="side of the crops (default: 128)")
    enhancer.add_argument("--lr", type=float, default=1e-4, help="learning rate (default: 1e-4)")
    enhancer.add_argument("--seed", type=int, default=1, help="default: 1")
    enhancer.add_argument("--resume", action="store_true", help="continue the run in --out")
    enhancer.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    enhancer.set_defaults(run=_run_enhancer)


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--init",
        type=Path,
        default=None,
        help="checkpoint of the baseline, which the students start from",
    )
    parser.add_argument(
        "--weights", type=Path, default=None, help="released weights of the config's enhancer"
    )


def _add_run(parser: argparse.ArgumentParser, seed: bool = True) -> None:
    parser.add_argument("--config", type=Path, required=True, help="YAML training file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    _add_parts(parser)
    parser.add_argument(
        "--teacher", type=Path, default=None, help="teacher file, instead of --weights and --init"
    )
    parser.add_argument(
        "--data", type=Path, default=None, help="data root (default: $MLKD_SHARED/data)"
    )
    parser.add_argument("--cache", type=Path, default=None, help="folder of the crops")
    if seed:
        parser.add_argument("--seed", type=int, default=None, help="instead of the config's")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--strict-data", action="store_true", help="refuse bad data instead of skipping it"
    )


def _run_teacher(args: argparse.Namespace) -> int:
    _need_torch()
    from model.training.mutual_config import load_mutual_config
    from model.training.night_teacher import save_teacher

    config = load_mutual_config(args.config)
    teacher = _build(config, args)
    save_teacher(args.out, teacher, config.teacher.enhancer, config.teacher.baseline)
    print(f"teacher ({config.teacher.enhancer}, {config.teacher.baseline}) written to {args.out}")
    return 0


def _run_mutual(args: argparse.Namespace) -> int:
    _need_torch()
    from model.cli_train import _data_root
    from model.training.mutual_config import load_mutual_config
    from model.training.mutual_loop import run_mutual
    from model.training.night_teacher import load_teacher
    from model.training.runs import pick_device

    config = load_mutual_config(args.config)
    if args.student is None:
        _need_two(config)
    else:
        students = dataclasses.replace(config.students, losses=(args.student,))
        config = dataclasses.replace(config, students=students)
    if args.seed is not None:
        run = dataclasses.replace(config.train.run, seed=args.seed)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, run=run))
    if args.teacher is None:
        teacher = _build(config, args)
    else:
        _check_teacher(args.teacher, config)
        teacher = load_teacher(args.teacher)
    paths = run_mutual(
        config,
        _data_root(args),
        args.out,
        teacher=teacher,
        init=args.init,
        resume=args.resume,
        device=pick_device(args.device),
        strict=args.strict_data,
        cache=args.cache,
    )
    for path in paths:
        print(f"student written to {path}")
    return 0


def _run_ablation(args: argparse.Namespace) -> int:
    _need_torch()
    from model.cli_train import _data_root
    from model.errors import ConfigError
    from model.evaluation.cli_runs import load_sequences, progress_bar
    from model.training import ablation, ablation_table
    from model.training.eager import open_checkpoint
    from model.training.mutual_config import load_mutual_config
    from model.training.mutual_loop import run_mutual
    from model.training.night_teacher import load_teacher, save_teacher
    from model.training.runs import pick_device
    from model.training.team import join_team

    config = load_mutual_config(args.config)
    seeds, moments = _seeds(args.seeds), [_moment(text) for text in args.heat]
    _need_two(config)
    if args.init is None:
        raise ConfigError(
            "the ablation needs --init, the checkpoint that every student starts from"
        )
    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: expected 1 or more")
    if args.teacher is not None:
        _check_teacher(args.teacher, config)
    chosen = argparse.Namespace(
        set_name="videos", data=args.eval_data, only=None, list=None, limit=None,
        frames=args.frames, night=args.night, night_only=args.night_only,
    )  # fmt: skip
    videos = load_sequences(chosen)
    drawn = {moment: ablation.find_moment(videos, *moment) for moment in moments}
    path = args.teacher
    if path is None:
        path = args.out / "teacher.pt"
        save_teacher(path, _build(config, args), config.teacher.enhancer, config.teacher.baseline)
    device, cache = pick_device(args.device), args.cache or args.out / "crops"

    def train(variant: MutualConfig, folder: Path) -> list[Path]:
        return run_mutual(
            variant, _data_root(args), folder, teacher=load_teacher(path), init=args.init,
            resume=True, device=device, strict=args.strict_data, cache=cache,
        )  # fmt: skip

    plan = ablation.Plan(config, seeds, path, args.init, args.out)
    with join_team(device):
        candidates = ablation.train_rows(plan, train)
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # torchrun's other processes have done their part
    opener = args.open_backend or open_checkpoint
    for candidate in candidates:
        opener(candidate.checkpoint, "auto").close()  # names what cannot be used, before the work
    total = sum(len(video) for video in videos) * len(candidates)
    with progress_bar(total, quiet=False) as progress:
        entries = ablation.evaluate(
            candidates,
            videos,
            args.out / "results",
            progress,
            opener,
            args.jobs,
            config.train.tracker,
        )
    note = (
        f"{len(videos)} sequences of {args.eval_data.name}; {len(seeds)} seeds; mean ± standard "
        "deviation. MLKD-Track is the best student of each room, chosen on these sequences."
    )
    if config.teacher.sees == "clean":
        note += (
            " The students learned from the teacher's network on crops before they were darkened."
        )
    print(ablation_table.write_table(args.out, entries, note))
    for (name, frame), moment in drawn.items():
        print(
            f"heat map written to {ablation.draw_heat(args.out, candidates, moment, name, frame)}"
        )
    return 0


def _run_bench(args: argparse.Namespace) -> int:
    _need_torch()
    from model.errors import InputError
    from model.training.mutual_config import load_mutual_config
    from model.training.throughput import measure

    if args.rounds < 1 or (args.batch is not None and args.batch < 1):
        raise InputError(
            f"--rounds {args.rounds}, --batch {args.batch}: expected whole numbers of 1 or more"
        )
    config = load_mutual_config(args.config)
    for line in measure(config, _build(config, args), args.rounds, args.batch).lines():
        print(line)
    return 0


def _run_enhancer(args: argparse.Namespace) -> int:
    _need_torch()
    from model.training.enhancer_loop import EnhancerConfig, train_enhancer
    from model.training.runs import pick_device

    config = EnhancerConfig(args.steps, args.batch, args.size, args.lr, args.seed)
    path = train_enhancer(config, args.images, args.out, pick_device(args.device), args.resume)
    print(f"enhancer written to {path}; try: mlkd enhance IN --out OUT --enhancer darklighter")
    return 0


def _seeds(text: str) -> tuple[int, ...]:
    from model.errors import ConfigError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise ConfigError(f"--seeds {text!r}: expected different whole numbers, as 1,2,3")
    return tuple(int(part) for part in parts)


def _moment(text: str) -> tuple[str, int]:
    from model.errors import ConfigError

    name, _, frame = text.rpartition(":")
    if not name or not frame.isdecimal():
        raise ConfigError(f"--heat {text!r}: expected NAME:FRAME, as night_suv:60")
    return name, int(frame)


def _need_two(config: MutualConfig) -> None:
    from model.errors import ConfigError

    losses = config.students.losses
    if len(losses) < 2:
        raise ConfigError(
            f"students.losses is {list(losses)}: a room needs two students or more; one alone is "
            f"mlkd train student --student {losses[0]}"
        )


def _check_teacher(path: Path, config: MutualConfig) -> None:
    """Refuse a teacher file that the config describes otherwise."""
    from model.errors import ConfigError
    from model.training.night_teacher import teacher_parts

    for name, value in teacher_parts(path).items():
        wanted = getattr(config.teacher, name)
        if value != wanted:
            raise ConfigError(
                f"--teacher {path} has {name} {value!r} and the config's teacher.{name} is "
                f"{wanted!r}: make them agree"
            )


def _build(config: MutualConfig, args: argparse.Namespace) -> NightTeacher:
    from model.errors import ConfigError
    from model.training.night_teacher import build_teacher

    parts = config.teacher
    if args.init is None:
        raise ConfigError("a teacher needs --init, the checkpoint of its baseline, or --teacher")
    return build_teacher(
        parts.enhancer,
        args.weights,
        parts.baseline,
        args.init,
        enhance_below_grey=parts.enhance_below_grey,
    )


def _need_torch() -> None:
    from importlib.util import find_spec

    from model.errors import MissingExtraError

    for library in ("torch", "tensorboard"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "train")
