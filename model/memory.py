"""What a target looked like lately, beside what it looked like when it was drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model.backend import Template
from model.config import TrackerConfig
from model.geometry import Box, Float


@dataclass(frozen=True)
class Memory:
    """Templates of one target; a value.

    Attributes:
        first: from the frame where the target was drawn; it never changes.
        lately: moving average of later ones; None before the first of them.
        frames: since one was last taken in.
        mix: which mixture of the two is looked for, a place in `shares`.
    """

    first: Template
    lately: Template | None = None
    frames: int = 0
    mix: int = 0


def shares(config: TrackerConfig) -> tuple[float, ...]:
    """Shares of the late look that are tried in turn: the usual one, all of it, none of it."""
    return config.template_memory, 1.0, 0.0


def look_otherwise(memory: Memory, config: TrackerConfig) -> tuple[Memory, Template]:
    """Turn to the next mixture, since the answers to this one are poor."""
    if memory.lately is None:
        return memory, memory.first
    mix = (memory.mix + 1) % len(shares(config))
    share = shares(config)[mix]
    return replace(memory, mix=mix), _blend(memory.first, memory.lately, share)


def is_due(
    memory: Memory, box: Box, score: float, size: tuple[int, int], config: TrackerConfig
) -> bool:
    """Tell whether this frame's target is to be learned.

    Args:
        memory: so far.
        box: this frame's answer, full-frame px.
        score: of the answer, 0..1.
        size: width and height of the frame, px.
        config: how often, and how sure.
    """
    width, height = size
    whole = box.x >= 0 and box.y >= 0 and box.x + box.w <= width and box.y + box.h <= height
    return whole and score >= config.memory_score and memory.frames >= config.memory_frames


def take_in(memory: Memory, seen: Template, config: TrackerConfig) -> tuple[Memory, Template]:
    """Learn one more template.

    Returns:
        the memory, and the template to look with: `template_memory` of what was seen lately, the
        rest of the first frame. So much of the first frame stays for good, whatever is learned.
    """
    last = memory.lately
    lately = seen if last is None else _blend(last, seen, config.memory_rate)
    return Memory(memory.first, lately), _blend(memory.first, lately, config.template_memory)


def _blend(a: Template, b: Template, share: float) -> Template:
    return Template(
        _mix(a.kernel_cls, b.kernel_cls, share), _mix(a.kernel_loc, b.kernel_loc, share)
    )


def _mix(a: Float, b: Float, share: float) -> Float:
    return a * (1.0 - share) + b * share
