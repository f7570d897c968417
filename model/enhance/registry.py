"""The enhancers by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import torch

from model.enhance.classical import Clahe, Gamma, MultiScaleRetinex
from model.enhance.darklighter import DarkLighter
from model.enhance.enhancer import Enhancer
from model.enhance.highlightnet import HighlightNet
from model.enhance.ldenhancer import LDEnhancer
from model.enhance.ruas import RUAS
from model.enhance.sci import SCI
from model.enhance.zero_dce import ZeroDCE
from model.enhance.zero_dce_plus import ZeroDCEPlus
from model.errors import ConfigError


def _ruas_denoised() -> Enhancer:
    return RUAS(denoise=True)


ENHANCERS: dict[str, Callable[[], Enhancer]] = {
    "darklighter": DarkLighter,
    "zero-dce": ZeroDCE,
    "zero-dce++": ZeroDCEPlus,
    "ruas": RUAS,
    "ruas-denoised": _ruas_denoised,
    "sci": SCI,
    "highlightnet": HighlightNet,
    "ldenhancer": LDEnhancer,
    "gamma": Gamma,
    "clahe": Clahe,
    "retinex": MultiScaleRetinex,
}


def build_enhancer(name: str, weights: Path | None = None) -> Enhancer:
    """Make an enhancer, frozen and in evaluation mode.

    Args:
        name: one of `ENHANCERS`.
        weights: its released checkpoint; none for a classical one.

    Raises:
        ConfigError: no such enhancer, or weights are missing or not wanted.
        ModelFileError: the weights are damaged or of another architecture.
    """
    if name not in ENHANCERS:
        near = difflib.get_close_matches(name, ENHANCERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"no enhancer {name!r}{hint}; known: {', '.join(ENHANCERS)}")
    rng_state = torch.get_rng_state()
    enhancer = ENHANCERS[name]()
    torch.set_rng_state(rng_state)  # weights come from the file: draw nothing from the caller's rng
    if enhancer.wants_weights != (weights is not None):
        wanted = "needs a weight file" if enhancer.wants_weights else "takes no weight file"
        raise ConfigError(f"enhancer {name!r} {wanted} (--weights)")
    if weights is not None:
        enhancer.load_weights(weights)
    return enhancer.eval().requires_grad_(False)
