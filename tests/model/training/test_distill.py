"""The losses from teacher to student: hand-computed values, zero at equality, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.errors import ShapeError
from model.nets.siamrpn import SiamRPN
from model.training.distill import (
    CORRELATION_LOSSES,
    crl_l2_loss,
    crl_spatial_loss,
    crl_threshold_loss,
    kd_cls_loss,
    kd_loc_loss,
    neighbour_sum,
)

ALL = {"kd_cls": kd_cls_loss, "kd_loc": kd_loc_loss, **CORRELATION_LOSSES}


def random_maps(channels: int, seed: int, side: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, side, side, generator=generator)


def channels_of(name: str) -> int:
    return {"kd_cls": 10, "kd_loc": 20}.get(name, 6)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_kd_cls_of_one_anchor_by_hand():
    # Softened by τ = 2: the student's (0, 2 ln 3) is (1/4, 3/4); the teacher's is (1/2, 1/2).
    student = torch.tensor([0.0, 2 * math.log(3)]).reshape(1, 2, 1, 1)
    teacher = torch.zeros(1, 2, 1, 1)
    wanted = kl([0.5, 0.5], [0.25, 0.75])
    assert kd_cls_loss(student, teacher, temperature=2.0).item() == pytest.approx(wanted)


def test_kd_cls_softens_over_the_classes_of_each_anchor_and_averages_over_anchors():
    # k = 2: channels are (background 0, background 1, target 0, target 1).
    student = torch.tensor([0.0, 0.0, math.log(3), 0.0]).reshape(1, 4, 1, 1)
    teacher = torch.tensor([0.0, 5.0, 0.0, 5.0]).reshape(1, 4, 1, 1)
    wanted = kl([0.5, 0.5], [0.25, 0.75]) / 2  # the second anchor's two distributions are equal
    assert kd_cls_loss(student, teacher, temperature=1.0).item() == pytest.approx(wanted)


def test_kd_cls_release_softens_over_the_anchors_of_the_batch():
    # One anchor on two positions: columns are classes; the background column is flat in both.
    student = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]]).reshape(1, 2, 1, 2)
    teacher = torch.zeros(1, 2, 1, 2)
    wanted = kl([0.5, 0.5], [0.25, 0.75]) / 2  # summed over columns, divided by the two rows
    loss = kd_cls_loss(student, teacher, temperature=1.0, form="release")
    assert loss.item() == pytest.approx(wanted)


def test_kd_loc_softens_over_the_logits_of_each_position():
    student = torch.tensor([math.log(2), 0.0, 0.0, 0.0]).reshape(1, 4, 1, 1)
    teacher = torch.zeros(1, 4, 1, 1)
    wanted = kl([0.25] * 4, [0.4, 0.2, 0.2, 0.2])
    assert kd_loc_loss(student, teacher, temperature=1.0).item() == pytest.approx(wanted)


def test_kd_loc_release_softens_over_the_positions():
    student = torch.zeros(1, 4, 1, 2)
    student[0, 0, 0, 1] = math.log(3)
    wanted = kl([0.5, 0.5], [0.25, 0.75]) / 2
    loss = kd_loc_loss(student, torch.zeros(1, 4, 1, 2), temperature=1.0, form="release")
    assert loss.item() == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["kd_cls", "kd_loc"])
def test_a_higher_temperature_softens(name):
    student, teacher = random_maps(channels_of(name), 1), random_maps(channels_of(name), 2)
    cold = ALL[name](student, teacher, temperature=1.0)
    warm = ALL[name](student, teacher, temperature=10.0)
    assert 0 < warm < cold


@pytest.mark.parametrize("form", ["paper", "release"])
@pytest.mark.parametrize("name", ["kd_cls", "kd_loc"])
def test_kd_agrees_with_an_independent_formula(name, form):
    student, teacher = random_maps(channels_of(name), 3), random_maps(channels_of(name), 4)
    tau = 4.0

    def rows(maps):
        array = maps.double().numpy()
        if name == "kd_cls":
            return np.stack([array[:, :5].ravel(), array[:, 5:].ravel()], 1)
        return np.moveaxis(array, 1, -1).reshape(-1, 20)

    def soft(array):
        e = np.exp(array / tau)
        return e / e.sum(1 if form == "paper" else 0, keepdims=True)

    p, q = soft(rows(teacher)), soft(rows(student))
    wanted = (p * (np.log(p) - np.log(q))).sum() / len(p)
    loss = ALL[name](student, teacher, temperature=tau, form=form)
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_l2_by_hand():
    student = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2)
    teacher = torch.tensor([1.0, 0.0, 3.0, 1.0]).reshape(1, 1, 2, 2)
    assert crl_l2_loss(student, teacher).item() == pytest.approx((4 + 9) / 4)


def test_l2_release_compares_a_flattened_softmax():
    student = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1)
    teacher = torch.zeros(1, 2, 1, 1)
    loss = crl_l2_loss(student, teacher, form="release")
    assert loss.item() == pytest.approx(0.01 * 0.25**2)


def test_neighbour_sum_by_hand():
    maps = torch.tensor([[1.0, 2.0], [3.0, 5.0]]).reshape(1, 1, 2, 2)
    wanted = [[4 - 2 - 3, 8 - 1 - 5], [12 - 1 - 5, 20 - 3 - 2]]
    assert neighbour_sum(maps)[0, 0].tolist() == wanted


def test_spatial_by_hand():
    # Soft-maxes of two pixels: (1/4, 3/4) and (1/2, 1/2); N is 4·own − other.
    student = torch.tensor([0.0, math.log(3)]).reshape(1, 1, 1, 2)
    teacher = torch.zeros(1, 1, 1, 2)
    n_s, n_t = (4 * 0.25 - 0.75, 4 * 0.75 - 0.25), (1.5, 1.5)
    wanted = ((n_s[0] - n_t[0]) ** 2 + (n_s[1] - n_t[1]) ** 2) / 2
    assert crl_spatial_loss(student, teacher).item() == pytest.approx(wanted)


def test_spatial_looks_at_each_map_on_its_own():
    student, teacher = random_maps(2, 5), random_maps(2, 6)
    both = crl_spatial_loss(student, teacher)
    apart = [crl_spatial_loss(student[:, i : i + 1], teacher[:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(both, torch.stack(apart).mean())


def test_spatial_release_squares_each_direction():
    # 256 equal maps of one pixel tile into a 16 x 16 image: constant, so only the border has gaps.
    student, teacher = torch.full((1, 256, 1, 1), 2.0), torch.zeros(1, 256, 1, 1)
    loss = crl_spatial_loss(student, teacher, form="release")
    assert loss.item() == pytest.approx(4 * 16 * 2.0**2 / 256)


def test_spatial_release_names_the_batch_that_cannot_be_tiled():
    maps = random_maps(6, 1)
    with pytest.raises(ShapeError, match="2 x 6 maps"):
        crl_spatial_loss(maps, maps, form="release")


@pytest.mark.parametrize("gradient", ["straight_through", "sigmoid"])
def test_threshold_gradient_points_towards_the_teacher(gradient):
    student = torch.tensor([0.0, 1.0, 2.0, 5.0]).reshape(1, 1, 2, 2).requires_grad_()
    teacher = torch.tensor([9.0, 0.0, 0.0, 9.0]).reshape(1, 1, 2, 2)
    crl_threshold_loss(student, teacher, gradient=gradient).backward()
    assert student.grad is not None
    assert student.grad[0, 0, 0, 0] < 0  # descending raises the pixel that the teacher has above
    assert student.grad[0, 0, 0, 1] > 0  # and lowers one that it has below


def test_threshold_forward_value_is_that_of_the_binary_maps():
    # Means 2 and 4.5: the student's binary map is (0, 0, 0, 1), the teacher's (1, 0, 0, 1).
    student = torch.tensor([0.0, 1.0, 2.0, 5.0]).reshape(1, 1, 2, 2)
    teacher = torch.tensor([9.0, 0.0, 0.0, 9.0]).reshape(1, 1, 2, 2)
    assert crl_threshold_loss(student, teacher).item() == pytest.approx(1 / 4)


def test_threshold_does_not_see_scale_or_offset():
    student = random_maps(3, 7)
    assert crl_threshold_loss(student, 3.0 * student + 2.0).item() == 0.0
    loss = crl_threshold_loss(student, 3.0 * student + 2.0, gradient="sigmoid")
    assert loss.item() == pytest.approx(0.0, abs=1e-10)


def test_threshold_of_a_dead_map_is_finite():
    student = torch.zeros(1, 1, 3, 3, requires_grad=True)
    loss = crl_threshold_loss(student, random_maps(1, 8, side=3)[:1])
    loss.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_threshold_release_has_no_gradient_at_all():
    student = random_maps(6, 1).requires_grad_()
    crl_threshold_loss(student, random_maps(6, 2), form="release").backward()
    assert student.grad is not None
    assert torch.count_nonzero(student.grad) == 0


@pytest.mark.parametrize("form", ["paper", "release"])
@pytest.mark.parametrize("name", sorted(ALL))
def test_zero_at_equality(name, form):
    maps = random_maps(256 if form == "release" and name == "spatial" else channels_of(name), 1)
    assert ALL[name](maps, maps.clone(), form=form).item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("name", sorted(ALL))
def test_above_zero_where_the_two_differ(name):
    channels = channels_of(name)
    assert ALL[name](random_maps(channels, 1), random_maps(channels, 2)).item() > 0


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_gradient_reaches_the_teacher(name):
    student = random_maps(channels_of(name), 1).requires_grad_()
    teacher = random_maps(channels_of(name), 2).requires_grad_()
    ALL[name](student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() > 0


@pytest.mark.parametrize("name", sorted(ALL))
def test_shapes_must_agree(name):
    channels = channels_of(name)
    with pytest.raises(ShapeError, match="same shape"):
        ALL[name](random_maps(channels, 1), random_maps(channels, 1, side=7))


@pytest.mark.parametrize("name", sorted(ALL))
def test_half_precision_is_computed_in_full(name):
    student, teacher = random_maps(channels_of(name), 1), random_maps(channels_of(name), 2)
    loss = ALL[name](student.bfloat16(), teacher.bfloat16())
    assert loss.dtype == torch.float32


BRANCHES = {"kd_cls": ("cls",), "kd_loc": ("loc",)}


@pytest.fixture(scope="module")
def student_maps():
    """Maps of a real student, with the graph to its weights."""
    torch.manual_seed(0)
    net = SiamRPN()
    z, x = torch.rand(2, 3, 127, 127) * 255, torch.rand(2, 3, 255, 255) * 255
    zf, xf = net.backbone(z), net.backbone(x)
    maps = {}
    for name, branch in (("cls", net.rpn_head.cls), ("loc", net.rpn_head.loc)):
        maps[f"corr_{name}"] = branch.correlate(xf, branch.kernel(zf))
        maps[name] = branch.head(maps[f"corr_{name}"])
    return net, maps


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_trained_part_of_a_student_gets_gradient(name, student_maps):
    net, maps = student_maps
    net.zero_grad(set_to_none=True)
    if name.startswith("kd"):
        keys, suffix = BRANCHES[name], ("conv_kernel", "conv_search", "head")
    else:
        keys, suffix = ("corr_cls", "corr_loc"), ("conv_kernel", "conv_search")
    loss = sum(ALL[name](maps[k], torch.roll(maps[k].detach(), 3, dims=3)) for k in keys)
    loss.backward(retain_graph=True)
    trained = [n for n, _ in net.named_parameters() if n.startswith("backbone.")]
    for branch in {k.removeprefix("corr_") for k in keys}:
        trained += [
            n
            for n, _ in net.named_parameters()
            if n.startswith(tuple(f"rpn_head.{branch}.{s}" for s in suffix))
        ]
    gradients = {n: p.grad for n, p in net.named_parameters()}
    for parameter in trained:
        gradient = gradients[parameter]
        assert gradient is not None, parameter
        assert torch.isfinite(gradient).all(), parameter
        assert gradient.abs().max() > 0, parameter
