"""Which boxes may steer: finite, new, inside the frame, and no jump from the last good one."""

from __future__ import annotations

import math

from gcs.follow_config import FollowConfig
from gcs.situation import Flaw, Situation
from model.geometry import Box

LATEST_AHEAD_NS = 5_000_000
"""A capture this far in the future is still rounding; more is a wrong clock."""


def find_flaw(
    last: Box | None, last_ns: int | None, now: Situation, config: FollowConfig
) -> Flaw | None:
    """Find what is wrong with an answer.

    Args:
        last: the last good box; None where none is believed.
        last_ns: capture of the last frame that was looked at. A box may be farther from the last
            good one after a gap in the video, but not for being refused again and again.
        now: the answer and its frame.
        config: limits.

    Returns:
        the flaw, or None for a good box.
    """
    box, at_ns = now.box, now.captured_ns
    if box is None or at_ns is None:
        return Flaw("no box or no capture time", broken=True)
    flaw = _broken(box, at_ns, last_ns, now)
    if flaw is not None:
        return Flaw(flaw, broken=True)
    edge_px = config.edge * now.width_px
    inside_x = edge_px < box.x and box.x + box.w < now.width_px - edge_px
    inside_y = edge_px < box.y and box.y + box.h < now.height_px - edge_px
    if not (inside_x and inside_y):
        return Flaw("the box touches the edge of the frame", broken=False)
    if last is None or last_ns is None:
        return None
    return _jump(last, box, (at_ns - last_ns) * 1e-9, now.width_px, config)


def _broken(box: Box, at_ns: int, last_ns: int | None, now: Situation) -> str | None:
    if now.width_px <= 0 or now.height_px <= 0:
        return f"a frame of {now.width_px} x {now.height_px} px"
    if not box.is_finite() or box.w <= 0 or box.h <= 0:
        return f"box {box.x:g}, {box.y:g}, {box.w:g}, {box.h:g}: expected four finite numbers"
    if now.score is None or not 0.0 <= now.score <= 1.0:
        return f"score {now.score}: expected 0..1"
    if at_ns > now.now_ns + LATEST_AHEAD_NS:
        return f"captured {(at_ns - now.now_ns) / 1e6:.0f} ms in the future"
    if last_ns is not None and at_ns <= last_ns:
        return "not newer than the last frame"
    return None


def _jump(last: Box, box: Box, gap_s: float, width_px: int, config: FollowConfig) -> Flaw | None:
    step = math.hypot(box.cx - last.cx, box.cy - last.cy) / width_px
    step_most = config.jump + config.jump_per_s * gap_s
    if step > step_most:
        return Flaw(f"the centre jumped by {step:.0%} of the frame's width", broken=False)
    growth = abs(math.log(box.w) + math.log(box.h) - math.log(last.w) - math.log(last.h))
    if growth > math.log(config.area_jump) + config.area_jump_per_s * gap_s:
        return Flaw(f"the area changed by a factor of {math.exp(min(growth, 20)):.1f}", False)
    return None
