"""The trackers' networks by name: any of them is a baseline, a teacher's body or a student."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from model.config import TrackerConfig
from model.errors import ConfigError
from model.nets import compact, efficientnet_lite, mobilenet_v2, resnet_atrous
from model.nets.multi_level import MultiLevelSiamese
from model.nets.outputs import PairOutputs
from model.nets.siamese import Siamese
from model.nets.siamrpn import SiamRPN

Network: TypeAlias = SiamRPN | Siamese | MultiLevelSiamese
"""Each has `template`, `search` and `forward` as `SiamRPN` has, and `backbone`, `rpn_head`."""


@dataclass(frozen=True)
class Baseline:
    """How to make a network, and how the tracker runs it.

    Attributes:
        build: makes it from the number of anchors a cell.
        tracker: search size, map size and post-processing; those of PySOT where it has them.
    """

    build: Callable[[int], Network]
    tracker: TrackerConfig


def _mobilenet(anchors: int) -> Network:
    net = mobilenet_v2.MobileNetV2()
    return MultiLevelSiamese(net, mobilenet_v2.CHANNELS, anchors, weighted=False)


def _resnet(anchors: int) -> Network:
    return MultiLevelSiamese(resnet_atrous.ResNet50(), resnet_atrous.CHANNELS, anchors)


def _efficientnet(anchors: int) -> Network:
    channels = efficientnet_lite.CHANNELS
    return Siamese(efficientnet_lite.EfficientNetLite0(), channels, channels, anchors)


def _compact(anchors: int) -> Network:
    return Siamese(compact.CompactBackbone(), compact.CHANNELS, compact.HIDDEN, anchors)


BASELINES: dict[str, Baseline] = {
    "alexnet": Baseline(SiamRPN, TrackerConfig()),
    "mobilenet_v2": Baseline(
        _mobilenet,
        TrackerConfig(
            search_px=255, score_size=25, penalty_k=0.04, window_influence=0.4, size_lr=0.5
        ),
    ),
    "resnet50": Baseline(
        _resnet,
        TrackerConfig(
            search_px=255, score_size=25, penalty_k=0.05, window_influence=0.42, size_lr=0.38
        ),
    ),
    "efficientnet_lite0": Baseline(_efficientnet, TrackerConfig()),
    "compact": Baseline(_compact, TrackerConfig()),
}


def build_baseline(name: str, anchors_per_cell: int = 5) -> Network:
    """Make a network with fresh weights (EfficientNet-Lite0's backbone has ImageNet's).

    Args:
        name: one of `BASELINES`.
        anchors_per_cell: k.

    Raises:
        ConfigError: no such baseline.
        MissingExtraError: EfficientNet-Lite0's packages are not installed.
    """
    return _baseline(name).build(anchors_per_cell)


def tracker_config(name: str) -> TrackerConfig:
    """The configuration that the named network is run with.

    Raises:
        ConfigError: no such baseline.
    """
    return _baseline(name).tracker


def run_pairs(net: Network, z: torch.Tensor, x: torch.Tensor) -> PairOutputs:
    """Run a network on a batch of pairs and keep the correlation maps.

    Args:
        net: any baseline.
        z: [B x 3 x 127 x 127] BGR, 0..255, float.
        x: [B x 3 x S x S] BGR, 0..255, float.
    """
    kernel_cls, kernel_loc = net.template(z)
    if isinstance(net, SiamRPN):
        return _head_pairs(net, kernel_cls, kernel_loc, net.backbone(x))
    maps = net.correlate(x, kernel_cls, kernel_loc)
    return PairOutputs(*net.answer(*maps), *maps)


def run_upper_pairs(net: SiamRPN, z: torch.Tensor, x: torch.Tensor) -> PairOutputs:
    """As `run_pairs`, from what `AlexNet.lower` answered on template and search region."""
    zf = net.backbone.upper(z)
    kernels = net.rpn_head.cls.kernel(zf), net.rpn_head.loc.kernel(zf)
    return _head_pairs(net, *kernels, net.backbone.upper(x))


def _head_pairs(
    net: SiamRPN, kernel_cls: torch.Tensor, kernel_loc: torch.Tensor, xf: torch.Tensor
) -> PairOutputs:
    head = net.rpn_head
    maps = head.cls.correlate(xf, kernel_cls), head.loc.correlate(xf, kernel_loc)
    return PairOutputs(head.cls.head(maps[0]), head.loc.head(maps[1]), *maps)


def fuse(net: Network) -> None:
    """Bring a trained network to the form that runs in flight, in place; the answers stay."""
    if isinstance(net.backbone, compact.CompactBackbone):
        net.backbone.fuse()


def _baseline(name: str) -> Baseline:
    if name not in BASELINES:
        near = difflib.get_close_matches(name, BASELINES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"no baseline {name!r}{hint}; known: {', '.join(BASELINES)}")
    return BASELINES[name]
