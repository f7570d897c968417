"""Training pairs: a template and a search region of the same target, or of another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from model.anchors import Centred, make_anchors
from model.geometry import Image
from model.training.augment import (
    Light,
    View,
    finish_both,
    native_side_px,
    render,
    sample_light,
)
from model.training.config import TrainConfig
from model.training.night import NightScene, sample_scene
from model.training.store import Crop, CropStore, Numbers, members
from model.training.targets import make_targets

_LEAST_PSEUDO_PX = 12.0
Sample = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Pair:
    """Two crops before augmentation.

    Attributes:
        template: shows the target.
        search: shows it again, or in a negative pair another object.
        negative: the search region's object is not the template's target.
        same_image: both come from one image, so the second needs more augmentation.
    """

    template: Crop
    search: Crop
    negative: bool
    same_image: bool


class PairDataset(Dataset[Sample]):
    """Pairs by number: the same number, configuration and data give the same pair."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        """Open the crop store in `folder`; worker processes open it anew."""
        self._config = config
        self._folder = folder
        self._store: CropStore | None = None
        store = CropStore(folder)
        self._count = len(store)
        self._groups = members(store)
        self._group_of = store.records["group"].copy()
        self._by_source = [
            np.flatnonzero(store.records["source"] == n) for n in range(len(config.sources))
        ]
        weights = np.array([source.weight for source in config.sources])
        self._shares = weights / weights.sum()
        self._sequences = self._sequence_shares()
        size = (config.pairs.search_px - config.tracker.template_px) // config.tracker.stride + 1
        self._anchors = make_anchors(config.tracker, size)

    def _sequence_shares(self) -> list[tuple[Numbers, npt.NDArray[np.float64]]]:
        """Groups of each source and how often each is drawn: by the root of its length."""
        shares = []
        for numbers in self._by_source:
            groups, counts = np.unique(self._group_of[numbers], return_counts=True)
            roots = np.sqrt(counts)
            shares.append((groups.astype(np.int64), roots / roots.sum()))
        return shares

    def __len__(self) -> int:
        """Count of crops; sample numbers are not bounded by it."""
        return self._count

    def __getitem__(self, number: int) -> Sample:
        """Make sample `number`.

        Returns:
            `z` (127, 127, 3) and `x` (255, 255, 3) BGR uint8; `labels` (N,) int8, `deltas`
            (4, N) and `weights` (N,) float32 as in `AnchorTargets`. With `pairs.clean` also
            `z_clean` and `x_clean`: the same crops before they were darkened.
        """
        rng = np.random.default_rng((self._config.run.seed, number))
        pair = self.draw(rng)
        return self._augment(pair, rng)

    def draw(self, rng: np.random.Generator) -> Pair:
        """Draw the two crops of a pair."""
        if self._store is None:
            self._store = CropStore(self._folder)
        source = int(rng.choice(len(self._by_source), p=self._shares))
        first = self._pick(source, rng)
        negative = bool(rng.random() < self._config.pairs.negative)
        if negative:
            second = self._pick_other(first, source, rng)
            same_image = False
        elif self._config.sources[source].follows:
            second = self._pick_near(first, rng)
            same_image = second == first
        else:
            second, same_image = first, True
        template = _with_box(self._store.crop(first), rng)
        search = template if second == first else _with_box(self._store.crop(second), rng)
        return Pair(template, search, negative, same_image)

    def _pick(self, source: int, rng: np.random.Generator) -> int:
        if self._config.sources[source].follows:
            groups, shares = self._sequences[source]
            numbers = self._groups[int(rng.choice(groups, p=shares))]
        else:
            numbers = self._by_source[source]
        return int(numbers[rng.integers(len(numbers))])

    def _pick_near(self, first: int, rng: np.random.Generator) -> int:
        """Another crop of the sequence, at most `max_gap_frames` away."""
        assert self._store is not None
        numbers = self._groups[int(self._group_of[first])]
        frames = self._store.records["frame"][numbers]
        gap = np.abs(frames - self._store.records["frame"][first])
        near = numbers[gap <= self._config.pairs.max_gap_frames]
        return int(near[rng.integers(len(near))])

    def _pick_other(self, first: int, source: int, rng: np.random.Generator) -> int:
        """Another object: of the same image or folder (a distractor), or of any source."""
        alike = rng.random() < self._config.pairs.distractor
        if alike and self._config.sources[source].kind == "boxes":
            numbers = self._groups[int(self._group_of[first])]
            if len(numbers) > 1:
                others = numbers[numbers != first]
                return int(others[rng.integers(len(others))])
        for _ in range(8):
            where = source if alike else int(rng.choice(len(self._by_source), p=self._shares))
            second = self._pick(where, rng)
            if self._group_of[second] != self._group_of[first]:
                return second
        return first if self._count == 1 else int((first + 1) % self._count)

    def _augment(self, pair: Pair, rng: np.random.Generator) -> Sample:
        config = self._config
        augment, tracker = config.augment, config.tracker
        flip = bool(rng.random() < augment.flip)
        z_view, x_view = _sample_views(pair, config, flip, rng)
        grey = bool(rng.random() < augment.grey)
        coarser = float(rng.uniform(1.3, 3.5)) if rng.random() < augment.low_resolution else 1.0
        z_scene, x_scene = _sample_scenes(config, rng)
        z_light = sample_light(rng, augment, grey, blur=False)
        x_light = _alike(z_light, sample_light(rng, augment, grey, blur=True), rng)
        z, z_clean = _see(pair.template, z_view, z_light, z_scene, coarser, rng)
        x, x_clean = _see(pair.search, x_view, x_light, x_scene, coarser, rng)
        size = x_view.size_of(pair.search.w, pair.search.h)
        box: Centred = (x_view.shift_x, x_view.shift_y, *size)
        keep_out = _other_place(pair, x_view) if pair.negative else None
        targets = make_targets(self._anchors, box, config.pairs, rng, pair.negative, keep_out)
        assert z.shape[0] == tracker.template_px
        sample: Sample = {
            "z": z,
            "x": x,
            "labels": targets.labels,
            "deltas": targets.deltas,
            "weights": targets.weights,
        }
        if config.pairs.clean:
            sample |= {"z_clean": z_clean, "x_clean": x_clean}
        return sample


def _with_box(crop: Crop, rng: np.random.Generator) -> Crop:
    """Give an image without boxes a random pseudo-target."""
    if crop.w > 0:
        return crop
    height, width = crop.image.shape[:2]
    largest = max(0.45 * min(height, width), _LEAST_PSEUDO_PX + 1)
    side = math.exp(rng.uniform(math.log(_LEAST_PSEUDO_PX), math.log(largest)))
    ratio = math.exp(rng.uniform(-0.9, 0.9))
    w = min(side / math.sqrt(ratio), 0.8 * width)
    h = min(side * math.sqrt(ratio), 0.8 * height)
    cx = float(rng.uniform(w / 2, width - w / 2))
    cy = float(rng.uniform(h / 2, height - h / 2))
    return replace(crop, cx=cx, cy=cy, w=w, h=h)


def _sample_views(
    pair: Pair, config: TrainConfig, flip: bool, rng: np.random.Generator
) -> tuple[View, View]:
    """Where template and search region lie: shift and scale, for one image also shape."""
    augment, tracker = config.augment, config.tracker
    z = _template_scale(pair.template, config) * _around(augment.template_scale, rng)
    x = _template_scale(pair.search, config) * _around(augment.search_scale, rng)
    stretched = pair.same_image or augment.stretch_sequences
    stretch = math.exp(rng.uniform(-augment.stretch, augment.stretch)) if stretched else 1.0
    turn = augment.rotation_deg if pair.same_image else 0.0
    z_shift = rng.uniform(-augment.template_shift_px, augment.template_shift_px, 2)
    x_shift = rng.uniform(-augment.search_shift_px, augment.search_shift_px, 2)
    rotation_deg = float(rng.uniform(-turn, turn))
    if augment.turn and not pair.negative and rng.random() < augment.turn:
        rotation_deg += 90.0 * int(rng.integers(1, 4))
    z_view = View(tracker.template_px, (z, z), float(z_shift[0]), float(z_shift[1]), 0.0, flip)
    x_view = View(
        config.pairs.search_px, (x * stretch, x / stretch), float(x_shift[0]), float(x_shift[1]),
        rotation_deg, flip,
    )  # fmt: skip
    return z_view, x_view


def _template_scale(crop: Crop, config: TrainConfig) -> float:
    """Network px per crop px: the target with its context fills the template."""
    context = config.tracker.context_amount * (crop.w + crop.h)
    return config.tracker.template_px / math.sqrt((crop.w + context) * (crop.h + context))


def _around(spread: float, rng: np.random.Generator) -> float:
    return 1.0 + float(rng.uniform(-spread, spread))


def _sample_scenes(
    config: TrainConfig, rng: np.random.Generator
) -> tuple[NightScene | None, NightScene | None]:
    """Night for both images, for none, or of two kinds."""
    night = config.night
    if rng.random() >= night.probability:
        return None, None
    gains = (night.gain_min, night.gain_max)
    z = sample_scene(rng, gains)
    if rng.random() < night.independent:
        return z, sample_scene(rng, gains)
    # The same flight: only what lies in the picture differs.
    return z, replace(z, layout_seed=int(rng.integers(2**31)))


def _alike(z: Light, x: Light, rng: np.random.Generator) -> Light:
    """Light of the search region: the template's change half of the time, else its own."""
    return replace(x, table=z.table) if rng.random() < 0.5 else x


def _see(
    crop: Crop,
    view: View,
    light: Light,
    scene: NightScene | None,
    coarser: float,
    rng: np.random.Generator,
) -> tuple[Image, Image]:
    side_px = native_side_px(view, crop.shrink, coarser)
    image = render(crop, crop.cx, crop.cy, view, side_px)
    return finish_both(image, light, scene, view.out_px, rng)


def _other_place(pair: Pair, view: View) -> Centred | None:
    """Where the template's target lies in the search region of another object of its image.

    Crops of other images get a place too; it only costs them a few ignored anchors.
    """
    template, search = pair.template, pair.search
    x = (template.left + template.cx * template.shrink - search.left) / search.shrink
    y = (template.top + template.cy * template.shrink - search.top) / search.shrink
    mirror = -1.0 if view.flip else 1.0
    cx = mirror * (x - search.cx) * view.scale[0] + view.shift_x
    cy = (y - search.cy) * view.scale[1] + view.shift_y
    factor = template.shrink / search.shrink
    w, h = template.w * factor * view.scale[0], template.h * factor * view.scale[1]
    return cx, cy, w, h
