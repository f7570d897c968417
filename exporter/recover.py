"""From an exported model back to a checkpoint that training can continue from.

Export folds batch norm into the convolutions. Here each norm gets the statistics of its input over
training crops and the scale and shift that undo them: the answers stay, and the network trains as
one that was never folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from exporter.manifest import ModelFiles, open_model
from model.errors import InputError, MissingExtraError
from model.nets.siamrpn import SiamRPN
from model.training.checkpoint import save_checkpoint

if TYPE_CHECKING:
    import onnx

Pairs = tuple[torch.Tensor, torch.Tensor]
NETWORK = "alexnet"


@dataclass(frozen=True)
class Recovered:
    """What `recover_checkpoint` made.

    Attributes:
        pairs: count of pairs that gave the statistics.
        error: largest difference of an answer before and after, relative to the largest answer.
    """

    pairs: int
    error: float


def recover_checkpoint(folder: Path, batches: Iterable[Pairs], out: Path) -> Recovered:
    """Write the checkpoint of an exported AlexNet model.

    Args:
        folder: model folder with fp32, compact or fp16 graphs.
        batches: z [B x 3 x 127 x 127] and x [B x 3 x S x S], BGR 0..255 float: training crops.
        out: checkpoint to write.

    Raises:
        InputError: the model is int8, factored, of another network, or no batch was given.
        ModelFileError: the folder holds no model.
        MissingExtraError: onnx is not installed.
    """
    model = open_model(folder)
    net = read_folded(model)
    pairs = list(batches)
    if not pairs:
        raise InputError("no training pairs were given: the norms' statistics cannot be measured")
    before = _answers(net, pairs[0])
    rebase_norms(net, pairs)
    after = _answers(net, pairs[0])
    error = float((after - before).abs().max() / before.abs().max())
    source = {"model": folder.name, "sha256": str(model.manifest.source.get("sha256", ""))}
    save_checkpoint(
        out, {"kind": f"siamrpn_{NETWORK}", "state_dict": net.state_dict(), "source": source}
    )
    return Recovered(sum(len(z) for z, _ in pairs), error)


def read_folded(model: ModelFiles) -> SiamRPN:
    """Fill the network with a model's folded convolutions; each norm only adds the folded bias.

    Raises:
        InputError: the model is int8, factored, or of another network.
    """
    manifest = model.manifest
    network = str(manifest.source.get("network", NETWORK))
    form = "factored " if "factored" in manifest.source else ""
    if network != NETWORK or form or manifest.precision == "int8":
        raise InputError(
            f"{model.folder} holds {form}{network} in {manifest.precision}: expected a model of "
            "the whole AlexNet in fp32, compact or fp16 (or, to export, a checkpoint, or "
            "--precision fp16 without --set, --calibration, --validation and --factored)"
        )
    weights = _weights(model.template_path) | _weights(model.search_path)
    net = SiamRPN(len(model.manifest.tracker.anchor_ratios)).eval()
    for name, conv in _convolutions(net):
        conv.weight.data.copy_(weights[f"net.{name}.weight"])
        folded = f"net.{name}.weight_bias"
        bias = weights[folded if folded in weights else f"net.{name}.bias"]
        norm = norm_of(net, name)
        if norm is None:
            assert conv.bias is not None
            conv.bias.data.copy_(bias)
            continue
        if conv.bias is not None:
            conv.bias.data.zero_()
        norm.bias.data.copy_(bias)
        norm.running_var.fill_(1.0 - norm.eps)  # type: ignore[union-attr]
    return net


@torch.no_grad()
def rebase_norms(net: nn.Module, batches: Iterable[Pairs]) -> None:
    """Give each norm its input's mean and variance, and the scale and shift that undo them.

    Template and search region count alike, as in training, where each is a batch of its own.

    Args:
        net: norms with statistics 0 and 1, in evaluation mode; changed in place, its answers not.
        batches: as in `recover_checkpoint`.
    """
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with _input_statistics(norms) as found:
        for z, x in batches:
            net(z, x)
    for norm in norms:
        mean = torch.stack([m for m, _ in found[norm]]).mean(0)
        var = torch.stack([v for _, v in found[norm]]).mean(0)
        norm.bias.add_(mean)
        norm.weight.copy_((var + norm.eps).sqrt())
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(var)  # type: ignore[union-attr]


@contextmanager
def _input_statistics(
    norms: list[nn.BatchNorm2d],
) -> Iterator[dict[nn.BatchNorm2d, list[tuple[torch.Tensor, torch.Tensor]]]]:
    """Collect mean and variance a channel of every batch that reaches each norm."""
    found: dict[nn.BatchNorm2d, list[tuple[torch.Tensor, torch.Tensor]]] = {n: [] for n in norms}

    def see(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        found[norm].append((inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))))

    handles = [norm.register_forward_pre_hook(see) for norm in norms]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def norm_of(net: nn.Module, conv: str) -> nn.BatchNorm2d | None:
    """The norm that follows a convolution in its `Sequential`, by the convolution's name."""
    parent, _, index = conv.rpartition(".")
    following = dict(net.named_modules()).get(f"{parent}.{int(index) + 1}")
    return following if isinstance(following, nn.BatchNorm2d) else None


def _convolutions(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d)]


def _weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "export") from None
    graph: onnx.GraphProto = onnx.load(path).graph
    return {
        weight.name.removesuffix("_fp16"): torch.from_numpy(
            onnx.numpy_helper.to_array(weight).copy()
        ).float()
        for weight in graph.initializer
    }


@torch.no_grad()
def _answers(net: SiamRPN, pair: Pairs) -> torch.Tensor:
    cls, loc = net(*pair)
    return torch.cat((cls.flatten(), loc.flatten()))
