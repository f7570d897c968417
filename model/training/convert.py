"""Checkpoints of PySOT and of the MLKD release, brought to this project's form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model.errors import ModelFileError
from model.nets.alexnet import rename_legacy
from model.nets.siamrpn import SiamRPN
from model.training.checkpoint import load_checkpoint, load_into, save_checkpoint


def import_checkpoint(path: Path, out: Path) -> int:
    """Convert a checkpoint and return the count of its tensors.

    Read are `{'epoch', 'state_dict', 'optimizer'}` and bare state dicts, with or without the
    prefix `module.`, of both AlexNet variants. The optimiser's state is left behind.

    Raises:
        ModelFileError: the file is damaged, or its names or shapes are not those of SiamRPN++
            with AlexNet; the first missing and unexpected ones are named.
    """
    state = normalise_state(load_checkpoint(path), str(path))
    net = SiamRPN()
    load_into(net, state, str(path))
    save_checkpoint(
        out, {"kind": "siamrpn_alexnet", "state_dict": net.state_dict(), "source": path.name}
    )
    return len(state)


def normalise_state(content: Mapping[str, Any], origin: str) -> dict[str, torch.Tensor]:
    """Find the weights in a checkpoint's content and bring their names to ours.

    Raises:
        ModelFileError: no weights are found, or a value among them is no tensor.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not state:
        raise ModelFileError(f"{origin} holds no weights: expected a state dict")
    plain = {str(name).removeprefix("module."): value for name, value in state.items()}
    wrong = [name for name, value in plain.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        shown = ", ".join(wrong[:3])
        raise ModelFileError(f"{origin} holds no state dict: {shown} are no tensors")
    return rename_legacy(plain)
