"""Rounds weights to int8 so that a layer's output changes least on the calibration crops.

GPTQ (Frantar et al., 2023, arXiv:2210.17323): rounding one weight moves the output; the weights
that are not rounded yet take the move back. Which move that is say the second moments of the
layer's inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Array = NDArray[np.float64]
PATCHES = 150
"""Places of each feature map whose patches are looked at."""
DAMPING = 0.01
BLOCK = 64


def attribute(node: onnx.NodeProto, name: str, default: list[int]) -> list[int]:
    """Return an attribute that is a list of integers."""
    return next((list(a.ints) for a in node.attribute if a.name == name), default)


def is_plain(conv: onnx.NodeProto) -> bool:
    """Say whether a convolution has a bias, no padding and no groups."""
    groups = next((a.i for a in conv.attribute if a.name == "group"), 1)
    return len(conv.input) == 3 and groups == 1 and not any(attribute(conv, "pads", []))


def input_moments(
    graph: onnx.ModelProto,
    convolutions: Iterable[str],
    run: Callable[[list[str]], Iterable[list[NDArray[np.float32]]]],
    seed: int = 0,
) -> dict[str, Array]:
    """Sum the second moments of some convolutions' inputs.

    Args:
        graph: that they are in.
        convolutions: names of nodes that are `is_plain`.
        run: gives the named float tensors (1, C, H, W), a list of arrays for each calibration crop.
        seed: of the places.

    Returns:
        For each name (K, K), the sum of x xᵀ over patches x of K = channels · kh · kw values.
    """
    import onnx

    wanted = set(convolutions)
    nodes = [n for n in graph.graph.node if n.name in wanted]
    if not nodes:
        return {}
    kernels = {
        w.name: onnx.numpy_helper.to_array(w).shape[-1]
        for w in graph.graph.initializer
        if w.name in {n.input[1] for n in nodes}
    }
    names = list(dict.fromkeys(n.input[0] for n in nodes))
    rng = np.random.default_rng(seed)
    moments: dict[str, Any] = dict.fromkeys(wanted, 0.0)
    for arrays in run(names):
        shown = dict(zip(names, arrays, strict=True))
        for node in nodes:
            x = _patches(shown[node.input[0]], node, kernels[node.input[1]], rng)
            moments[node.name] = moments[node.name] + x.T @ x
    return {name: np.asarray(summed, np.float64) for name, summed in moments.items()}


def _patches(
    x: NDArray[np.float32], node: onnx.NodeProto, side: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Cut `PATCHES` of a (1, C, H, W) map, as the convolution sees them: (PATCHES, C · k · k)."""
    step, apart = attribute(node, "strides", [1])[0], attribute(node, "dilations", [1])[0]
    span = (side - 1) * apart + 1
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (span, span), axis=(1, 2))
    seen = windows[:, ::step, ::step, ::apart, ::apart]
    rows, columns = (rng.integers(0, n, PATCHES) for n in seen.shape[1:3])
    picked: NDArray[np.float32] = seen[:, rows, columns].swapaxes(0, 1).reshape(PATCHES, -1)
    return picked


def round_weights(kernel: NDArray[Any], scale: NDArray[Any], moments: Array) -> NDArray[np.int8]:
    """Round a convolution's weights one after another; those left make good for each.

    The most active inputs come first, since the last ones have nobody to make good for them.

    Args:
        kernel: (O, C, kh, kw) float.
        scale: (O,) step of each output channel.
        moments: (K, K), K = C · kh · kw, of the inputs.

    Returns:
        (O, C, kh, kw) in -127..127; times `scale` it is the kernel.
    """
    outputs = len(kernel)
    step = scale.reshape(-1, 1).astype(np.float64)
    left = kernel.reshape(outputs, -1).astype(np.float64) / step
    order = np.argsort(-np.diag(moments), kind="stable")
    left = left[:, order]
    power = moments[np.ix_(order, order)]
    damping = DAMPING * float(np.diag(power).mean())
    power = power + (damping or 1.0) * np.eye(len(power))
    share = np.linalg.cholesky(np.linalg.inv(power)).T
    rounded = np.zeros_like(left)
    for start in range(0, left.shape[1], BLOCK):
        end = min(left.shape[1], start + BLOCK)
        missed = np.zeros((outputs, end - start))
        for j in range(start, end):
            rounded[:, j] = np.clip(np.round(left[:, j]), -127, 127)
            missed[:, j - start] = (left[:, j] - rounded[:, j]) / share[j, j]
            left[:, j + 1 : end] -= np.outer(missed[:, j - start], share[j, j + 1 : end])
        left[:, end:] -= missed @ share[start:end, end:]
    back = np.empty_like(rounded)
    back[:, order] = rounded
    return back.astype(np.int8).reshape(kernel.shape)
