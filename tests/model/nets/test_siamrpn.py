from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from model.nets.alexnet import AlexNet, AlexNetLegacy, rename_legacy  # noqa: E402
from model.nets.siamrpn import SiamRPN  # noqa: E402


@pytest.fixture(scope="module")
def net() -> SiamRPN:
    torch.manual_seed(0)
    return SiamRPN().eval()


@pytest.mark.parametrize(("side", "cells"), [(127, 6), (255, 22), (287, 26)])
def test_alexnet_has_the_published_feature_sizes(net: SiamRPN, side: int, cells: int) -> None:
    with torch.no_grad():
        features = net.backbone(torch.zeros(1, 3, side, side))
    assert tuple(features.shape) == (1, 256, cells, cells)


@pytest.mark.parametrize(("side", "cells"), [(255, 17), (287, 21)])
def test_maps_have_the_published_sizes(net: SiamRPN, side: int, cells: int) -> None:
    with torch.no_grad():
        kernel_cls, kernel_loc = net.template(torch.zeros(2, 3, 127, 127))
        cls, loc = net.search(torch.zeros(2, 3, side, side), kernel_cls, kernel_loc)
    assert tuple(kernel_cls.shape) == tuple(kernel_loc.shape) == (2, 256, 4, 4)
    assert tuple(cls.shape) == (2, 10, cells, cells)
    assert tuple(loc.shape) == (2, 20, cells, cells)


def test_state_dict_names_are_those_of_pysot(net: SiamRPN) -> None:
    names = set(net.state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    wanted = {f"backbone.layer{n}.0.{p}" for n in range(1, 6) for p in ("weight", "bias")}
    wanted |= {f"backbone.layer{n}.1.{p}" for n in range(1, 6) for p in norm}
    for branch in ("cls", "loc"):
        head = f"rpn_head.{branch}"
        wanted |= {f"{head}.{part}.0.weight" for part in ("conv_kernel", "conv_search", "head")}
        wanted |= {
            f"{head}.{p}.1.{q}" for p in ("conv_kernel", "conv_search", "head") for q in norm
        }
        wanted |= {f"{head}.head.3.weight", f"{head}.head.3.bias"}
    assert names == wanted


def test_one_template_serves_a_batch_as_it_serves_each(net: SiamRPN) -> None:
    z, x = torch.rand(1, 3, 127, 127) * 255, torch.rand(3, 3, 255, 255) * 255
    with torch.no_grad():
        kernels = net.template(z)
        cls, loc = net.search(x, *kernels)
        alone = [net.search(x[n : n + 1], *kernels) for n in range(3)]
    torch.testing.assert_close(cls, torch.cat([a[0] for a in alone]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loc, torch.cat([a[1] for a in alone]), atol=1e-4, rtol=1e-4)


def test_receptive_field_of_a_cell_is_where_the_constants_say() -> None:
    torch.manual_seed(0)
    net = AlexNet().eval()
    x = torch.randn(1, 3, 127, 127, requires_grad=True)
    net(x)[0, :, 2, 3].sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum((0, 1))
    rows, columns = touched.sum(1).nonzero().ravel(), touched.sum(0).nonzero().ravel()
    assert (int(rows.min()) + int(rows.max())) / 2 == pytest.approx(8 * 2 + 43, abs=4)
    assert (int(columns.min()) + int(columns.max())) / 2 == pytest.approx(8 * 3 + 43, abs=4)


def test_legacy_names_carry_the_same_network() -> None:
    torch.manual_seed(1)
    legacy, net = AlexNetLegacy().eval(), AlexNet().eval()
    net.load_state_dict(rename_legacy(legacy.state_dict()))
    x = torch.rand(1, 3, 127, 127) * 255
    with torch.no_grad():
        torch.testing.assert_close(net(x), legacy(x))


def test_renaming_leaves_other_names_alone() -> None:
    one = torch.zeros(1)
    names = {"backbone.features.14.bias": one, "features.99.weight": one, "rpn_head.x": one}
    assert set(rename_legacy(names)) == {
        "backbone.layer5.0.bias", "features.99.weight", "rpn_head.x"
    }  # fmt: skip
