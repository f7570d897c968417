"""What `mlkd data` runs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tqdm import tqdm

from model.evaluation.data_check import Known, check_dataset, read_known
from model.evaluation.datasets import DATASETS, VIDEOS, find_dataset, is_plain

MOST_SHOWN = 200


def list_sets(arguments: argparse.Namespace) -> int:
    """Name the sets."""
    del arguments
    print(f"{VIDEOS:<16} folders with a video and groundtruth.txt")
    for data_set in DATASETS.values():
        kind = "night" if data_set.night else "day"
        counts = ", ".join(str(len(names)) for names in data_set.flags) or "no"
        purpose = "test" if data_set.test else "training"
        print(f"{data_set.name:<16} {kind}, {purpose}, {counts} attributes")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check a copy of a set.

    Returns:
        0 when nothing is missing or odd, 1 otherwise.
    """
    plain = is_plain(arguments.set_name)
    name = VIDEOS if plain else find_dataset(arguments.set_name).name
    known = find_known(name, arguments.known)
    with tqdm(unit="sequence", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        count, findings = check_dataset(name, arguments.path, known, progress)
    for finding in findings[:MOST_SHOWN]:
        print(f"{finding.kind:<8} {finding.sequence}: {finding.text}")
    if len(findings) > MOST_SHOWN:
        print(f"… and {len(findings) - MOST_SHOWN} more")
    against = f", compared with {len(known)} known ones" if known else ""
    print(f"{name}: {count} sequences{against}; {len(findings)} findings")
    return 1 if findings else 0


def find_known(name: str, path: Path | None) -> dict[str, Known] | None:
    """Read the known names, lengths and first boxes of a set; None where they are not at hand."""
    if path is not None:
        return read_known(path)
    shared = Path(os.environ.get("MLKD_SHARED") or "../shared")
    stem = name.removesuffix("-test")
    place = shared / "data" / "ope-oracle" / "night-init-boxes" / f"{stem}.csv"
    return read_known(place) if place.is_file() else None
