"""How the target's own pixels moved since the last frame: sparse optical flow.

The network answers the size that its search region suggests, its score tells the right scale only
on average, and a neighbour of the same kind draws its box away bit by bit. The pixels of a rigid
target tell within a per cent a frame how much it grew, and within a pixel where it went, but
neither how large nor what it is: errors add up. So the flow carries the box from frame to frame,
and the network's answers pull it to where they think it is. Where the pixels do not move as one,
as on somebody who walks, the flow says so itself and is trusted less (median of distances and
forward-backward check: Kalal et al., Forward-backward error, 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from model.config import TrackerConfig
from model.crop import Colour, Region, crop_region, place_region
from model.geometry import Box, Float, Image

Grey = npt.NDArray[np.uint8]

PATCH_PX = 64
"""Side of the patches that are compared."""

REST = 0.1
"""Share of the network's say in the size that stays where the flow is trusted wholly."""

MOST_GROWTH = 0.05
"""The flow changes the sides by at most this share in a frame."""

LOOSENESS_RATE = 0.1
"""Weight of the newest frame in the moving average of the looseness."""

RIGID = 0.01
"""Looseness of a target that nothing is known of yet."""

LOOSEST = 0.05
"""Looseness of a frame whose flow cannot be told; a looser one counts as this much."""

_CONTEXT = 1.5  # side of the patch, in longer sides of the box
_STALE = 1.15  # a patch of another size than the box asks for by more than this is cut anew
_GRID = 6
_INNER = 0.7  # share of the box that the grid covers: its corners show what is behind the target
_LEAST_POINTS = 20
_FAR = 0.2  # pairs are measured that lie further apart than this, in shorter sides of the box
_BACK_PX = 0.6  # a point is kept where flow forward and back ends so near to its start
_BLUR_PX, _SPREAD, _MIDDLE = 1.0, 50.0, 110.0
_WINDOW, _LEVELS = (11, 11), 2
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_LINE = np.linspace(-_INNER / 2, _INNER / 2, _GRID)
_UNIT = np.stack(np.meshgrid(_LINE, _LINE), -1).reshape(-1, 2).astype(np.float32)  # in sides
_FIRST, _SECOND = np.triu_indices(len(_UNIT), 1)


@dataclass(frozen=True)
class Flow:
    """What one frame leaves for the next; a value.

    Attributes:
        grey: (PATCH_PX, PATCH_PX) uint8, the target and what is around it, brightness and contrast
            evened out.
        region: where it was cut, full-frame px.
        looseness: moving average of how far the target's points lie from moving as one, in its
            sides; 0 is rigid.
    """

    grey: Grey
    region: Region
    looseness: float = RIGID


@dataclass(frozen=True)
class Motion:
    """What the flow says of the target since the last frame, already weighed by `trust`.

    Attributes:
        factor: of its sides; 1 where nothing is known.
        shift_x, shift_y: from the network's centre to the flow's, full-frame px.
        trust: 0..1.
    """

    factor: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    trust: float = 0.0

    @property
    def rest(self) -> float:
        """What the network's rates for the size are multiplied with, REST..1."""
        return 1.0 - self.trust * (1.0 - REST)


class _Measured(NamedTuple):
    """Growth, looseness, and the target's centre in the newer patch, px from its middle."""

    factor: float
    looseness: float
    x: float
    y: float


def first_patch(image: Image, box: Box, padding: Colour, looseness: float = RIGID) -> Flow:
    """Cut the patch of a box.

    Args:
        image: (H, W, 3) BGR uint8.
        box: the target, full-frame px.
        padding: BGR colour beyond the border.
        looseness: of the target so far.
    """
    region = place_region(box.cx, box.cy, _side_px(box))
    return Flow(_patch(image, region, padding), region, looseness)


def renew(last: Flow, box: Box, image: Image, padding: Colour) -> Flow:
    """Cut the patch anew where the box has outgrown it or shrunk in it.

    Args:
        last: of this frame.
        box, image, padding: as of `first_patch`, this frame's.
    """
    ratio = _side_px(box) / last.region.side
    if max(ratio, 1.0 / ratio) <= _STALE:
        return last
    return first_patch(image, box, padding, last.looseness)


def follow(
    last: Flow, box: Box, here: Box, image: Image, padding: Colour, config: TrackerConfig
) -> tuple[Flow, Motion]:
    """Compare the target in two neighbouring frames.

    Args:
        last: of the frame before.
        box: the target in the frame before, full-frame px.
        here: a box of the same size where the network sees it in this frame; the flow is looked
            for around its centre.
        image: (H, W, 3) BGR uint8, this frame.
        padding: BGR colour beyond the border.
        config: for `flow_looseness`.

    Returns:
        what the next frame is compared with, and the motion.
    """
    region = place_region(here.cx, here.cy, last.region.side)
    grey = _patch(image, region, padding)
    scale = PATCH_PX / region.side
    middle = ((box.cx - last.region.cx) * scale, (box.cy - last.region.cy) * scale)
    seen = _measure(last.grey, grey, middle, (box.w * scale, box.h * scale))
    loose = LOOSEST if seen is None else min(seen.looseness, LOOSEST)
    looseness = last.looseness + LOOSENESS_RATE * (loose - last.looseness)
    now = Flow(grey, region, looseness)
    if seen is None:
        return now, Motion()
    trust = 1.0 / (1.0 + (looseness / config.flow_looseness) ** 2)
    factor = min(max(seen.factor, 1.0 - MOST_GROWTH), 1.0 + MOST_GROWTH)
    x, y = region.cx + seen.x / scale - here.cx, region.cy + seen.y / scale - here.cy
    return now, Motion(factor**trust, x * trust, y * trust, trust)


def _side_px(box: Box) -> int:
    return max(1, round(_CONTEXT * max(box.w, box.h)))


def _patch(image: Image, region: Region, padding: Colour) -> Grey:
    """Cut and grey a patch; what a lamp adds or a dark frame lacks is evened out."""
    grey = cv2.cvtColor(crop_region(image, region, PATCH_PX, padding), cv2.COLOR_BGR2GRAY)
    soft = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _BLUR_PX)
    mean, deviation = cv2.meanStdDev(soft)
    gain = _SPREAD / (float(deviation[0, 0]) + 0.5)
    even = soft * gain + (_MIDDLE - float(mean[0, 0]) * gain)
    return np.asarray(np.clip(even, 0, 255), np.uint8)


def _measure(
    last: Grey, now: Grey, middle: tuple[float, float], size: tuple[float, float]
) -> _Measured | None:
    """Follow a grid of points from one patch to the next; None where too few can be followed.

    Args:
        last, now: patches of one scale.
        middle: the target's centre in `last`, px from the patch's middle.
        size: its width and height there, px.
    """
    grid = _UNIT * np.asarray(size, np.float32)
    start = grid + (np.asarray(middle, np.float32) + PATCH_PX / 2)
    end, found = _points(last, now, start)
    back, returned = _points(now, last, end)
    good = found & returned & (np.hypot(*(back - start).T) < _BACK_PX)
    if np.count_nonzero(good) < _LEAST_POINTS:
        return None
    before = np.hypot(*(grid[_FIRST] - grid[_SECOND]).T)
    usable = good[_FIRST] & good[_SECOND] & (before > _FAR * min(size))
    after = np.hypot(*(end[_FIRST[usable]] - end[_SECOND[usable]]).T)
    factor = float(np.median(after / before[usable]))
    rest = end[good] - PATCH_PX / 2 - grid[good] * factor
    centre = np.median(rest, axis=0)
    loose = float(np.median(np.hypot(*(rest - centre).T))) / math.sqrt(size[0] * size[1])
    return _Measured(factor, loose, float(centre[0]), float(centre[1]))


def _points(a: Grey, b: Grey, start: Float) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Where points of one patch are in another, (N, 2) px, and which of them were found."""
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        a, b, start, np.empty_like(start), winSize=_WINDOW, maxLevel=_LEVELS, criteria=_STOP
    )
    return np.asarray(end, np.float32), np.asarray(found)[:, 0] == 1
