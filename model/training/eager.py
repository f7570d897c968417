"""Runs a teacher or a student in the tracker as it is, in eager torch: for evaluation only."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from model.backend import Template
from model.config import TrackerConfig
from model.enhance.enhancer import enhance_bgr
from model.errors import BackendError, ModelFileError
from model.geometry import Float, Image
from model.nets.baselines import BASELINES, Network, build_baseline, tracker_config
from model.training.checkpoint import load_checkpoint, load_into
from model.training.night_teacher import ALWAYS_GREY, KIND, NightTeacher, load_teacher

Precision = Literal["fp32", "bf16"]
_PREFIX = "siamrpn_"


class EagerBackend:
    """A `model.backend.Backend` over any baseline, with or without an enhancer before it."""

    def __init__(
        self,
        net: Network,
        config: TrackerConfig,
        teacher: NightTeacher | None = None,
        precision: Precision = "fp32",
    ) -> None:
        """Wrap a network; `teacher` enhances what it sees."""
        self._net = net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._config = config
        self._teacher = teacher
        self._precision = precision

    @property
    def name(self) -> str:
        """Engine, precision and device."""
        return f"torch-{self._precision} eager (CPU, {torch.get_num_threads()} threads)"

    @property
    def config(self) -> TrackerConfig:
        """The tracker configuration of the checkpoint."""
        return self._config

    @torch.inference_mode()
    def encode_template(self, z: Image) -> Template:
        """Encode a template crop; see `model.backend.Backend`."""
        with self._autocast():
            kernel_cls, kernel_loc = self._net.template(self._see(z))
        kernel_cls, kernel_loc = kernel_cls.float(), kernel_loc.float()
        if not (torch.isfinite(kernel_cls).all() and torch.isfinite(kernel_loc).all()):
            raise BackendError(f"{self.name}: the template's kernels are not finite")
        return Template(kernel_cls.numpy(), kernel_loc.numpy())

    @torch.inference_mode()
    def predict(self, template: Template, x: Image) -> tuple[Float, Float]:
        """Compare a search crop with the template; see `model.backend.Backend`."""
        kernels = torch.from_numpy(template.kernel_cls), torch.from_numpy(template.kernel_loc)
        with self._autocast():
            cls, loc = self._net.search(self._see(x), *kernels)
        return cls[0].float().numpy(), loc[0].float().numpy()

    def close(self) -> None:
        """Nothing to free."""

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self._precision == "bf16")

    def _see(self, crop: Image) -> torch.Tensor:
        chw = np.ascontiguousarray(crop.transpose(2, 0, 1)[None])
        x = torch.from_numpy(chw).float()
        if self._teacher is None:
            return x
        # Template and search crop come one by one here, so each is judged by its own grey.
        limit = self._teacher.enhance_below_grey
        dark = limit >= ALWAYS_GREY or float(x.mean()) < limit
        return enhance_bgr(self._teacher.enhancer, x) if dark else x


def open_checkpoint(
    path: Path, engine: str = "auto", precision: Precision = "fp32"
) -> EagerBackend:
    """Open a teacher, or a checkpoint of a baseline or a student.

    Raises:
        ModelFileError: missing, damaged, or of an unknown network.
    """
    del engine
    content = load_checkpoint(path)
    kind = str(content.get("kind", ""))
    if kind == KIND:
        teacher = load_teacher(path)
        config = tracker_config(content["baseline"])
        return EagerBackend(teacher.net, config, teacher, precision)
    baseline = kind.removeprefix(_PREFIX)
    if not kind.startswith(_PREFIX) or baseline not in BASELINES:
        raise ModelFileError(f"{path} is of kind {kind!r}: expected a teacher or a tracker")
    net = build_baseline(baseline)
    load_into(net, content["state_dict"], str(path))
    return EagerBackend(net, tracker_config(baseline), precision=precision)
