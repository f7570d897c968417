"""Judges a model by tracking: its success AUC against that of the whole network in fp32."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Listing
from dataclasses import replace

import numpy as np

from exporter.parity import ParityError
from model.backend import Backend
from model.evaluation.darkened import darken_sequence
from model.evaluation.metrics import score_sequence
from model.evaluation.ope import track_sequence
from model.evaluation.peers import EngineTracker
from model.evaluation.sequences import Sequence

log = logging.getLogger(__name__)

AUC_LIMIT = 0.01
NIGHT_SEED = 1


def choose(videos: Listing[Sequence], most: int = 16, frames: int = 80) -> list[Sequence]:
    """Take some videos evenly, their first frames, each by day and as night.

    Args:
        videos: annotated ones.
        most: videos at most.
        frames: of each.
    """
    picks = np.unique(np.linspace(0, len(videos) - 1, min(most, len(videos))).astype(int))
    short = [replace(videos[i], truth=videos[i].truth[:frames]) for i in picks]
    dark = (darken_sequence(s, NIGHT_SEED) for s in short)
    return [*short, *(d for d, s in zip(dark, short, strict=True) if d is not s)]


def mean_auc(backends: Listing[Backend], sequences: Listing[Sequence]) -> list[float]:
    """Run engines side by side over the same frames.

    Returns:
        Mean success AUC of each engine, 0..1.
    """
    trackers = [EngineTracker(backend) for backend in backends]
    scores = []
    for sequence in sequences:
        runs = track_sequence(trackers, sequence, "")
        scores.append([score_sequence(sequence.truth, run.boxes).auc for run in runs])
        shown = ", ".join(f"{auc:.3f}" for auc in scores[-1])
        log.info("%s (%s): success AUC %s", sequence.name, sequence.condition, shown)
    return [float(v) for v in np.mean(scores, axis=0)]


def check_auc(reference: float, candidate: float, form: str = "int8") -> None:
    """Refuse a model that tracks worse than the whole network in fp32.

    Args:
        reference: success AUC of that.
        candidate: of the model.
        form: of the model, for the message.

    Raises:
        ParityError: names both figures and the limit.
    """
    if not candidate >= reference - AUC_LIMIT:
        raise ParityError(
            f"the {form} model's success AUC is {candidate:.4f}, that of the whole network "
            f"{reference:.4f}: expected a loss of at most {AUC_LIMIT}; nothing was exported. "
            "Calibrate on frames more like those of --validation, or export with --precision "
            "compact and without --factored"
        )
