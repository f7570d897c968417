"""Review of recorded flights: figures and the CLE curve, from the log alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import InputError

PRECISION_PX = 20.0
"""The threshold of the paper's real-world tests and of precision@20."""


@dataclass(frozen=True)
class Flight:
    """One recorded flight.

    Attributes:
        records: the whole lines of `track.jsonl`, oldest first.
        torn_lines: lines that could not be read: a process killed while writing leaves one.
    """

    flight_id: str
    folder: Path
    manifest: dict[str, Any]
    records: list[dict[str, Any]]
    torn_lines: int

    @property
    def started_at(self) -> str:
        """ISO time of the start, as recorded."""
        return str(self.manifest.get("started_at", "unknown start"))

    @property
    def source(self) -> str:
        """The video source's name, as recorded."""
        return str(self.manifest.get("source", "unknown source"))


@dataclass(frozen=True)
class FlightFigures:
    """What a flight comes to. CLE, precision and success need ground truth; else None."""

    flight_id: str
    frames: int
    frames_with_truth: int
    mean_cle_px: float | None
    precision_at_20px: float | None
    success_auc: float | None
    lost_share: float
    fps: float | None
    update_p50_ms: float | None
    update_p99_ms: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    dropped: int
    torn_lines: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """Return the lines that a person reads."""
        without = "no ground truth"
        return [
            f"flight              {self.flight_id}",
            f"frames              {self.frames} ({self.frames_with_truth} with ground truth, "
            f"{self.dropped} dropped, {self.torn_lines} torn lines)",
            f"mean CLE            {_show(self.mean_cle_px, 'px', without)}",
            f"precision@20 px     {_show(self.precision_at_20px, '', without)}",
            f"success AUC         {_show(self.success_auc, '', without)}",
            f"lost                {self.lost_share:.1%} of the frames",
            f"frames a second     {_show(self.fps, 'fps')}",
            f"update              p50 {_show(self.update_p50_ms, 'ms')}, "
            f"p99 {_show(self.update_p99_ms, 'ms')}",
            f"capture to publish  p50 {_show(self.latency_p50_ms, 'ms')}, "
            f"p95 {_show(self.latency_p95_ms, 'ms')}, p99 {_show(self.latency_p99_ms, 'ms')}",
        ]


def _show(value: float | None, unit: str, missing: str = "unknown") -> str:
    if value is None:
        return missing
    digits = 2 if unit == "px" or unit == "ms" else 1 if unit == "fps" else 3
    return f"{value:.{digits}f} {unit}".rstrip()


def list_flights(flights_dir: Path) -> list[Flight]:
    """Read the manifests of all flights, newest first; none where the folder does not exist."""
    folders = [f.parent for f in flights_dir.glob("*/manifest.json")]
    flights = [Flight(f.name, f, _read_manifest(f), [], 0) for f in folders]
    return sorted(flights, key=lambda f: (f.started_at, f.flight_id), reverse=True)


def read_flight(flights_dir: Path, flight_id: str) -> Flight:
    """Read one flight; `last` is the newest.

    Raises:
        InputError: no such flight (the newest ones are named), or it holds no track log.
    """
    known = list_flights(flights_dir)
    names = [f.flight_id for f in known]
    if flight_id == "last" and names:
        flight_id = names[0]
    if flight_id not in names:
        have = f"it holds {', '.join(names[:5])}" if names else "it holds no flight yet"
        raise InputError(f"no flight {flight_id!r} in {flights_dir}: {have}")
    folder = flights_dir / flight_id
    track = folder / "track.jsonl"
    if not track.is_file():
        raise InputError(f"{track} is missing: expected the flight's track log")
    records, torn = _read_lines(track)
    return Flight(flight_id, folder, _read_manifest(folder), records, torn)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read_lines(track: Path) -> tuple[list[dict[str, Any]], int]:
    records: list[dict[str, Any]] = []
    torn = 0
    for line in track.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            torn += 1
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            torn += 1
    return records, torn


def summarise(flight: Flight) -> FlightFigures:
    """Work out a flight's figures.

    Success is the mean over 21 IoU thresholds (strict), precision the share of frames whose CLE
    is at most 20 px; both over the frames that have ground truth.
    """
    records = flight.records
    errors = _column(records, "cle_px")
    overlaps = _column(records, "iou")
    latency = _spans_ms(records, "captured_ns", "published_ns")
    update = _column(records, "update_ms")
    captured = _column(records, "captured_ns")
    span_s = (captured[-1] - captured[0]) / 1e9 if len(captured) > 1 else 0.0
    thresholds = np.arange(0, 1.05, 0.05)
    success = float(np.mean(overlaps[:, None] > thresholds)) if len(overlaps) else None
    lost = sum(r.get("state") == "LOST" for r in records)
    return FlightFigures(
        flight_id=flight.flight_id,
        frames=len(records),
        frames_with_truth=len(errors),
        mean_cle_px=float(errors.mean()) if len(errors) else None,
        precision_at_20px=float(np.mean(errors <= PRECISION_PX)) if len(errors) else None,
        success_auc=success,
        lost_share=lost / len(records) if records else 0.0,
        fps=(len(captured) - 1) / span_s if span_s > 0 else None,
        update_p50_ms=_percentile(update, 50),
        update_p99_ms=_percentile(update, 99),
        latency_p50_ms=_percentile(latency, 50),
        latency_p95_ms=_percentile(latency, 95),
        latency_p99_ms=_percentile(latency, 99),
        dropped=int(_column(records, "dropped").sum()),
        torn_lines=flight.torn_lines,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _column(records: Sequence[dict[str, Any]], key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = [r[key] for r in records if _is_number(r.get(key))]
    return np.asarray(values, np.float64)


def _spans_ms(
    records: Sequence[dict[str, Any]], start: str, end: str
) -> np.ndarray[Any, np.dtype[np.float64]]:
    whole = [r for r in records if _is_number(r.get(start)) and _is_number(r.get(end))]
    return np.asarray([(r[end] - r[start]) / 1e6 for r in whole], np.float64)


def _percentile(values: np.ndarray[Any, np.dtype[np.float64]], q: float) -> float | None:
    return float(np.percentile(values, q)) if len(values) else None


def draw_cle_curve(flight: Flight) -> str:
    """Draw CLE over frames against the 20 px line as a self-contained SVG (the paper's Fig. 5).

    Frames without ground truth leave a gap.
    """
    width, height, left, bottom = 900, 320, 56, 36
    errors = [r.get("cle_px") if _is_number(r.get("cle_px")) else None for r in flight.records]
    top_px = max([PRECISION_PX * 1.5, *(float(e) * 1.05 for e in errors if e is not None)])
    last = max(1, len(errors) - 1)

    def place(index: int, error: float) -> tuple[float, float]:
        x = left + (width - left - 12) * index / last
        return x, (height - bottom) - (height - bottom - 24) * error / top_px

    strokes, current = [], []
    for index, error in enumerate([*errors, None]):
        if error is not None:
            current.append("{:.1f},{:.1f}".format(*place(index, float(error))))
        elif current:
            strokes.append(f'<polyline points="{" ".join(current)}"/>')
            current = []
    _, limit = place(0, PRECISION_PX)
    marks = "".join(
        f'<text x="{left - 8}" y="{place(0, v)[1] + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in (0.0, PRECISION_PX, round(top_px))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="{left}" y="16">CLE (px) by frame, {flight.flight_id}; dashed: 20 px</text>'
        f'<line x1="{left}" x2="{width - 12}" y1="{limit:.1f}" y2="{limit:.1f}" '
        f'stroke="#c33" stroke-dasharray="6 4"/>'
        f'<g fill="none" stroke="#1667b7" stroke-width="1.5">{"".join(strokes)}</g>{marks}'
        f'<text x="{width - 12}" y="{height - 10}" text-anchor="end">{len(errors)} frames</text>'
        f"</svg>\n"
    )
