"""Plots of a report, as SVG; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.errors import MissingExtraError
from model.evaluation.box_files import Float64
from model.evaluation.metrics import PRECISION_PX


def new_figure(width_in: float = 6.0, height_in: float = 4.2) -> tuple[Any, Any]:
    """Make a figure of its own, outside pyplot's state."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "eval") from None
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def as_svg(figure: Any) -> bytes:
    """Write the figure, the same bytes for the same data."""
    from matplotlib import rc_context

    target = io.BytesIO()
    with rc_context({"svg.hashsalt": "mlkd", "svg.fonttype": "none"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()


def plot_curves(
    curves: Mapping[str, tuple[Float64, float]],
    steps: Float64,
    labels: tuple[str, str, str],
    mark: float | None = None,
) -> bytes:
    """Draw success or precision curves, the best first in the legend.

    Args:
        curves: of each tracker its curve over `steps` and the figure that ranks it; their order
            gives the colours.
        steps: thresholds.
        labels: title, x axis, y axis.
        mark: threshold to mark with a line.
    """
    figure, axes = new_figure()
    ranked = sorted(curves.items(), key=lambda item: -item[1][1])
    places = {name: index for index, name in enumerate(curves)}
    for name, (curve, value) in ranked:
        style = {"color": f"C{places[name] % 10}", "linestyle": "-" if places[name] < 10 else "--"}
        axes.plot(steps, curve, label=f"{name} [{value:.3f}]", linewidth=1.8, **style)
    if mark is not None:
        axes.axvline(mark, color="grey", linestyle=":", linewidth=1)
    axes.set(title=labels[0], xlabel=labels[1], ylabel=labels[2], ylim=(0, 1))
    axes.set_xlim(float(steps[0]), float(steps[-1]))
    axes.legend(fontsize=8)
    return as_svg(figure)


def plot_cle(errors: Mapping[str, Float64], title: str) -> bytes:
    """Draw the centre error of each frame with the 20 px line; absent frames are gaps.

    Args:
        errors: (N,) px of each tracker; NaN where the target is absent.
        title: above the plot.
    """
    figure, axes = new_figure(8.0, 3.0)
    for index, (name, error) in enumerate(errors.items()):
        frames = np.arange(1, len(error) + 1)
        axes.plot(frames, error, color=f"C{index % 10}", label=name, linewidth=1.3)
    axes.axhline(PRECISION_PX, color="green", linestyle="--", linewidth=1, label="20 px")
    known = [error[~np.isnan(error)] for error in errors.values()]
    top = max([3 * PRECISION_PX, *(float(np.percentile(k, 95)) for k in known if k.size)])
    axes.set(title=title, xlabel="frame", ylabel="CLE, px", ylim=(0, min(top * 1.1, 400)))
    axes.legend(fontsize=8, loc="upper left")
    return as_svg(figure)


def plot_calibration(bins: Sequence[tuple[float, float, int]], title: str) -> bytes:
    """Draw mean IoU over score, with the number of frames as bars.

    Args:
        bins: centre of each score bin, mean IoU in it (NaN when empty), frames in it.
        title: above the plot.
    """
    figure, axes = new_figure(5.0, 3.6)
    centres = np.array([b[0] for b in bins])
    counts = np.array([b[2] for b in bins], np.float64)
    share = counts / max(counts.sum(), 1.0)
    axes.bar(centres, share, width=0.9 / len(bins), color="lightgrey", label="share of frames")
    axes.plot(centres, [b[1] for b in bins], "o-", label="mean IoU")
    axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    axes.set(title=title, xlabel="score", ylabel="mean IoU", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8)
    return as_svg(figure)
