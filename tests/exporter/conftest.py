"""One exported network for all tests of the exporter: the compact one, random weights, seeded."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from exporter.export import export_model
from exporter.manifest import open_model
from model.nets.baselines import Network, build_baseline


def random_network(baseline: str) -> Network:
    """A network whose batch norm has seen one batch, so that its maps are of a sane size."""
    # Threads that wait for one another starve on a busy machine.
    torch.set_num_threads(1)
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    net = build_baseline(baseline)
    coarse = rng.random((2, 20, 20, 3), np.float32) * 255
    crops = np.stack([cv2.resize(image, (287, 287)) for image in coarse]).astype(np.float32)
    x = torch.from_numpy(crops).permute(0, 3, 1, 2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    net.train()
    with torch.no_grad():
        net(x[:, :, 80:207, 80:207].contiguous(), x)
    return net.eval()


@pytest.fixture(scope="session")
def network() -> Network:
    return random_network("compact")


@pytest.fixture(scope="session")
def checkpoint(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "random.pt"
    torch.save({"kind": "siamrpn_compact", "state_dict": network.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def fp32_folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network exported in fp32; read only."""
    return export_model(checkpoint, tmp_path_factory.mktemp("fp32"), "fp32").folder


@pytest.fixture
def model_folder(fp32_folder: Path, tmp_path: Path) -> Path:
    """A copy of the exported model that a test may damage."""
    folder = tmp_path / "model"
    shutil.copytree(fp32_folder, folder)
    assert open_model(folder).manifest.precision == "fp32"
    return folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three videos of a bright square that moves right."""
    root = tmp_path / "videos"
    for name in ("a", "b", "c"):
        folder = root / "set" / name
        folder.mkdir(parents=True)
        writer = cv2.VideoWriter(
            str(folder / "video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240)
        )
        lines = []
        for index in range(8):
            frame = np.full((240, 320, 3), 20, np.uint8)
            x = 100 + 3 * index
            frame[100:130, x : x + 40] = 250
            writer.write(frame)
            lines.append(f"{x},100,40,30")
        writer.release()
        (folder / "groundtruth.txt").write_text("\n".join(lines))
    return root
