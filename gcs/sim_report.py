"""Figures, table and curves of the closed loop's trials."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gcs.sim_run import Flown, Sample

SETTLE_S = 2.0
"""The first seconds after the box was drawn are the approach; they count for no figure."""

IN_FRAME_WANTED = 0.95
ERROR_WANTED = 0.08
LATENCY_HELD_MS = 150.0

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrialFigures:
    """What one trial comes to.

    Attributes:
        name: of the trial.
        hard: reported, not held to the figures.
        seconds: flown after the approach.
        in_frame: share of the time that the target's true place lay in the frame.
        visible: share of the time that it was seen (not hidden).
        error_px, error_deg: median centring error.
        error_share: the same, fraction of the frame's width.
        error_p95_share: 95th percentile.
        cle_px: mean error of the tracker's box; None where it was never measured.
        jerk_deg_s2: mean change of the yaw command, each second.
        neutral_share: share of the time without a command that moves.
        drawings, grants, confirmations: how often the operator drew the box, granted the level,
            and confirmed.
        events: decisions of the supervisor by rule, each change counted once.
    """

    name: str
    hard: bool
    seconds: float
    in_frame: float
    visible: float
    error_px: float
    error_deg: float
    error_share: float
    error_p95_share: float
    cle_px: float | None
    jerk_deg_s2: float
    neutral_share: float
    drawings: int
    grants: int
    confirmations: int
    events: dict[str, int]

    @property
    def reached(self) -> bool:
        """Whether time in frame and centring error are what they should be."""
        return self.in_frame >= IN_FRAME_WANTED and self.error_share <= ERROR_WANTED


def figures_of(flown: Flown) -> TrialFigures:
    """Boil one flight down; the approach is left out."""
    first_s = flown.samples[0].time_s if flown.samples else 0.0
    samples = [s for s in flown.samples if s.time_s >= first_s + SETTLE_S] or flown.samples
    width_px = flown.frame_size[0]
    errors = np.array([s.error_px for s in samples])
    cle = [s.cle_px for s in samples if s.cle_px is not None]
    yaw = np.array([_yaw(s) for s in samples])
    times = np.array([s.time_s for s in samples])
    spans = np.maximum(np.diff(times), 1e-9)
    still = [s.command is None or s.command.is_neutral for s in samples]
    return TrialFigures(
        name=flown.trial.name,
        hard=flown.trial.hard,
        seconds=float(times[-1] - times[0]) if len(times) else 0.0,
        in_frame=float(np.mean([s.in_frame for s in samples])),
        visible=float(np.mean([s.visible for s in samples])),
        error_px=float(np.median(errors)),
        error_deg=float(np.median([s.error_deg for s in samples])),
        error_share=float(np.median(errors)) / width_px,
        error_p95_share=_quantile(errors, 0.95) / width_px,
        cle_px=float(np.mean(cle)) if cle else None,
        jerk_deg_s2=float(np.mean(np.abs(np.diff(yaw)) / spans)) if len(yaw) > 1 else 0.0,
        neutral_share=float(np.mean(still)),
        drawings=flown.drawings,
        grants=flown.grants,
        confirmations=flown.confirmations,
        events=_events(flown),
    )


def table(rows: Sequence[TrialFigures]) -> str:
    """Lay the trials out for a person."""
    head = (
        f"{'trial':12} {'in frame':>8} {'seen':>6} {'error':>8} {'':>7} {'of width':>8} "
        f"{'p95':>6} {'CLE':>8} {'yaw change':>10} {'neutral':>7} {'operator':>9}  supervisor"
    )
    lines = [head]
    for row in rows:
        cle = "none" if row.cle_px is None else f"{row.cle_px:.1f} px"
        events = ", ".join(f"{rule} {count}" for rule, count in sorted(row.events.items()))
        operator = f"{row.drawings} + {row.grants} + {row.confirmations}"
        mark = "hard" if row.hard else ("" if row.reached else "below the figures")
        lines.append(
            f"{row.name:12} {row.in_frame:8.1%} {row.visible:6.0%} {row.error_px:5.0f} px "
            f"{row.error_deg:5.1f} ° {row.error_share:8.1%} {row.error_p95_share:6.1%} {cle:>8} "
            f"{row.jerk_deg_s2:5.0f} °/s² {row.neutral_share:7.0%} "
            f"{operator:>9}  {events}{'; ' + mark if mark else ''}".rstrip()
        )
    return "\n".join(lines)


def as_dict(row: TrialFigures) -> dict[str, object]:
    """Plain values for JSON; an error behind the camera is None."""
    values = dataclasses.asdict(row)
    clean = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()
    }
    return {**clean, "reached": row.reached}


def draw_curves(flown: Flown) -> str:
    """Draw centring error, yaw, gimbal and forward commands over time as one SVG."""
    width_px = flown.frame_size[0]
    samples = flown.samples
    panels = (
        ("centring error, % of the width", [100 * s.error_px / width_px for s in samples], 30.0),
        ("tracker's error (CLE), px", [_or_nan(s.cle_px) for s in samples], 60.0),
        ("yaw command, °/s", [_yaw(s) for s in samples], None),
        ("gimbal command, °/s", [_rate(s, "gimbal_pitch_deg_s") for s in samples], None),
        ("forward command, m/s", [_rate(s, "forward_m_s") for s in samples], None),
    )
    times = [s.time_s for s in samples]
    width, height, left = 960, 130, 60
    parts = []
    for index, (title, values, top) in enumerate(panels):
        parts.append(_panel(title, times, values, top, (left, 30 + index * height, width, height)))
    total = 40 + len(panels) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" '
        f'font-family="sans-serif" font-size="12"><rect width="{width}" height="{total}" '
        f'fill="#fff"/><text x="{left}" y="18" font-weight="bold">{flown.trial.name}: '
        f"latency {flown.trial.latency_ms:g} ms, {flown.trial.loss:.0%} of the frames lost; "
        f"grey: nothing moves</text>{''.join(_bands(samples, left, width, total))}"
        f"{''.join(parts)}</svg>\n"
    )


def _yaw(sample: Sample) -> float:
    return _rate(sample, "yaw_deg_s")


def _rate(sample: Sample, name: str) -> float:
    return 0.0 if sample.command is None else float(getattr(sample.command, name))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _quantile(values: Numbers, q: float) -> float:
    """Order statistic: interpolation would make nonsense of an infinite error."""
    return float(np.quantile(values, q, method="higher"))


def _events(flown: Flown) -> dict[str, int]:
    counts = Counter(
        message.split(":")[0] if kind == "control" else kind
        for _, kind, message in flown.events
        if kind in ("control", "lost", "found", "override", "control_failed", "not_confirmed")
    )
    return {rule: count for rule, count in counts.items() if rule not in ("clear", "camera")}


def _span(samples: Sequence[Sample]) -> tuple[float, float]:
    first, last = samples[0].time_s, samples[-1].time_s
    return first, max(last, first + 1e-6)


def _panel(
    title: str,
    times: Sequence[float],
    values: Sequence[float],
    top: float | None,
    place: tuple[int, int, int, int],
) -> str:
    """One curve with its scale; values beyond `top` are cut, gaps stay gaps."""
    left, y0, width, height = place
    finite = [v for v in values if math.isfinite(v)]
    low = min(0.0, min(finite, default=0.0))
    high = max(finite, default=1.0) if top is None else top
    high = high if high > low else low + 1.0
    first, last = times[0], max(times[-1], times[0] + 1e-6)
    body = height - 34
    strokes: list[list[str]] = [[]]
    for t, value in zip(times, values, strict=True):
        if not math.isfinite(value):
            strokes.append([])
            continue
        x = left + (t - first) / (last - first) * (width - left - 12)
        y = y0 + 18 + body * (1 - (min(value, high) - low) / (high - low))
        strokes[-1].append(f"{x:.1f},{y:.1f}")
    lines = "".join(f'<polyline points="{" ".join(s)}"/>' for s in strokes if len(s) > 1)
    zero = y0 + 18 + body * (1 - (0 - low) / (high - low))
    return (
        f'<text x="{left}" y="{y0 + 12}">{title}</text>'
        f'<line x1="{left}" x2="{width - 12}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="#999"/>'
        f'<text x="{left - 6}" y="{y0 + 24}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{left - 6}" y="{y0 + 18 + body}" text-anchor="end">{low:.3g}</text>'
        f'<g fill="none" stroke="#1667b7" stroke-width="1.3">{lines}</g>'
    )


def _bands(samples: Sequence[Sample], left: int, width: int, total: int) -> list[str]:
    """Grey where nothing moves the vehicle."""
    first, last = _span(samples)
    scale = (width - left - 12) / (last - first)
    bands, since = [], None
    for sample in [*samples, None]:
        still = sample is not None and (sample.command is None or sample.command.is_neutral)
        if still and since is None and sample is not None:
            since = sample.time_s
        elif not still and since is not None:
            until = last if sample is None else sample.time_s
            bands.append(
                f'<rect x="{left + (since - first) * scale:.1f}" y="24" '
                f'width="{max((until - since) * scale, 0.5):.1f}" height="{total - 30}" '
                f'fill="#eee"/>'
            )
            since = None
    return bands
