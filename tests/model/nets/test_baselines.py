"""Every baseline: one interface, the map sizes, state-dict names, gradients."""

from __future__ import annotations

import pytest
import torch

from model.anchors import make_anchors
from model.errors import ConfigError
from model.nets.baselines import BASELINES, build_baseline, fuse, run_pairs, tracker_config
from model.nets.compact import CompactBackbone, RepBlock
from model.nets.mobilenet_v2 import MobileNetV2
from model.nets.multi_level import MultiLevelHead
from model.nets.neck import AdjustLevel
from model.nets.resnet_atrous import ResNet50

ONE_LEVEL = ("alexnet", "efficientnet_lite0", "compact")


def crops(side: int, seed: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=generator) * 255


@pytest.fixture(scope="module", params=sorted(BASELINES))
def trained_step(request):
    """A baseline after one backward pass over a pair with a small search region."""
    torch.manual_seed(0)
    net = build_baseline(request.param)
    outputs = run_pairs(net, crops(127, 1), crops(191, 2))
    (outputs.cls.square().mean() + outputs.loc.square().mean()).backward()
    return request.param, net, outputs


def test_shapes_of_the_maps(trained_step):
    name, _, outputs = trained_step
    side = 9 if name in ONE_LEVEL else 17
    assert outputs.cls.shape == (1, 10, side, side)
    assert outputs.loc.shape == (1, 20, side, side)
    assert outputs.correlation_cls.shape == outputs.correlation_loc.shape
    assert outputs.correlation_cls.shape[-2:] == (side, side)


def test_every_weight_gets_gradient(trained_step):
    _, net, _ = trained_step
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_two_halves_are_the_whole(trained_step):
    _, net, _ = trained_step
    net.eval()
    z, x = crops(127, 3, 2), crops(159, 4, 2)
    with torch.no_grad():
        kernels = net.template(z)
        halves = net.search(x, *kernels)
        whole = net(z, x)
        outputs = run_pairs(net, z, x)
        shared = net.search(x, *(k[:1] for k in kernels))  # one template serves every region
    for a, b, c in zip(halves, whole, outputs[:2], strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c)
    torch.testing.assert_close(shared[0][0], halves[0][0])


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_the_configuration_fits_the_network(name):
    config = tracker_config(name)
    net = build_baseline(name).eval()
    with torch.no_grad():
        kernels = net.template(torch.zeros(1, 3, config.template_px, config.template_px))
        cls, loc = net.search(torch.zeros(1, 3, config.search_px, config.search_px), *kernels)
    assert cls.shape == (1, 2 * config.anchors_per_cell, config.score_size, config.score_size)
    assert loc.numel() == make_anchors(config).size


@pytest.mark.parametrize("name", ONE_LEVEL)
def test_one_level_networks_share_alexnets_grid(name):
    net = build_baseline(name).eval()
    with torch.no_grad():
        sides = [net.backbone(torch.zeros(1, 3, s, s)).shape[-1] for s in (127, 255, 287)]
    assert sides == [6, 22, 26]


def test_pysot_names_of_resnet50():
    shapes = {k: tuple(v.shape) for k, v in build_baseline("resnet50").state_dict().items()}
    facts = {
        "backbone.conv1.weight": (64, 3, 7, 7),
        "backbone.bn1.running_var": (64,),
        "backbone.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.layer2.0.downsample.0.weight": (512, 256, 3, 3),
        "backbone.layer3.5.conv2.weight": (256, 256, 3, 3),
        "backbone.layer4.0.downsample.0.weight": (2048, 1024, 3, 3),
        "backbone.layer4.2.bn3.weight": (2048,),
        "neck.downsample2.downsample.0.weight": (256, 512, 1, 1),
        "neck.downsample4.downsample.1.running_mean": (256,),
        "rpn_head.rpn2.cls.conv_kernel.0.weight": (256, 256, 3, 3),
        "rpn_head.rpn4.loc.head.3.bias": (20,),
        "rpn_head.cls_weight": (3,),
        "rpn_head.loc_weight": (3,),
    }
    assert {k: shapes.get(k) for k in facts} == facts
    blocks = 3 + 4 + 6 + 3
    backbone = 6 * (1 + 3 * blocks + 4)  # a conv and five of batch norm: stem, blocks, shortcuts
    assert sum(k.startswith("backbone.") for k in shapes) == backbone


def test_pysot_names_of_mobilenet_v2():
    shapes = {k: tuple(v.shape) for k, v in build_baseline("mobilenet_v2").state_dict().items()}
    facts = {
        "backbone.layer0.0.weight": (44, 3, 3, 3),
        "backbone.layer1.0.conv.0.weight": (44, 44, 1, 1),
        "backbone.layer2.0.conv.3.weight": (132, 1, 3, 3),
        "backbone.layer5.2.conv.7.running_var": (134,),
        "backbone.layer7.0.conv.6.weight": (448, 1344, 1, 1),
        "neck.downsample2.downsample.0.weight": (256, 44, 1, 1),
        "neck.downsample4.downsample.0.weight": (256, 448, 1, 1),
        "rpn_head.rpn3.loc.conv_search.1.bias": (256,),
    }
    assert {k: shapes.get(k) for k in facts} == facts
    assert "rpn_head.cls_weight" not in shapes  # the published one is not weighted


@pytest.mark.parametrize("backbone", [MobileNetV2, ResNet50])
def test_the_levels_share_stride_8(backbone):
    net = backbone().eval()
    with torch.no_grad():
        assert [f.shape[-1] for f in net(torch.zeros(1, 3, 127, 127))] == [15, 15, 15]
        assert [f.shape[-1] for f in net(torch.zeros(1, 3, 255, 255))] == [31, 31, 31]


def test_the_dilation_grows_stage_by_stage():
    net = ResNet50()
    found = [stage[i].conv2.dilation[0] for stage in (net.layer3, net.layer4) for i in (0, 1)]
    assert found == [1, 2, 2, 4]


def test_the_neck_keeps_the_centre_of_a_template():
    level = AdjustLevel(4, 4).eval()
    level.downsample = torch.nn.Identity()
    x = torch.arange(15.0 * 15).reshape(1, 1, 15, 15)
    assert torch.equal(level(x), x[..., 4:11, 4:11])
    assert level(torch.zeros(1, 1, 31, 31)).shape[-1] == 31


def test_levels_are_weighted_by_a_softmax():
    head = MultiLevelHead(5, weighted=True).eval()
    assert head.cls_weight is not None
    correlation = torch.rand(1, 768, 3, 3)
    parts = [b.head(c) for b, c in zip(head.branches("cls"), correlation.chunk(3, 1), strict=True)]
    with torch.no_grad():
        torch.testing.assert_close(head.answer("cls", correlation), sum(parts) / 3)
        head.cls_weight.copy_(torch.tensor([30.0, 0.0, 0.0]))
        torch.testing.assert_close(head.answer("cls", correlation), parts[0])


def test_a_fused_block_does_the_same():
    torch.manual_seed(1)
    for stride, channels, activation in ((1, 8, True), (2, 16, True), (1, 8, False)):
        block = RepBlock(8, channels, stride, activation)
        for norm in (m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.uniform_(norm.bias, -1, 1)
        block.eval()
        x = torch.randn(2, 8, 11, 11)
        with torch.no_grad():
            torch.testing.assert_close(block.fused()(x), block(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["alexnet", "compact"])
def test_fusing_keeps_the_answers(name):
    torch.manual_seed(2)
    net = build_baseline(name).eval()
    z, x = crops(127, 8), crops(191, 9)
    with torch.no_grad():
        before = net(z, x)
        fuse(net)
        after = net(z, x)
    assert not any(isinstance(m, RepBlock) for m in net.modules())
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=float(a.abs().max()) * 1e-4)


def test_the_compact_network_is_small_enough():
    net = build_baseline("compact").eval()
    assert isinstance(net.backbone, CompactBackbone)
    with torch.no_grad():
        kernels = net.template(torch.zeros(1, 3, 127, 127))
        fuse(net)
        macs = 0

        def count(module, _, out):
            nonlocal macs
            macs += out.numel() * module.weight[0].numel()

        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(count)
        net.search(torch.zeros(1, 3, 287, 287), *kernels)
    assert macs < 1.1e9


def test_efficientnet_has_imagenet_weights():
    a, b = build_baseline("efficientnet_lite0"), build_baseline("efficientnet_lite0")
    assert torch.equal(a.backbone.stem[0].weight, b.backbone.stem[0].weight)
    assert not torch.equal(a.backbone.adjust[0].weight, b.backbone.adjust[0].weight)


@pytest.mark.parametrize("name", ["compact", "efficientnet_lite0"])
def test_a_shift_of_the_target_shifts_the_correlation(name):
    # The template's content, pasted one cell right of the centre, answers one cell to the right.
    torch.manual_seed(0)
    net = build_baseline(name)
    z = torch.nn.functional.interpolate(crops(16, 5), (127, 127), mode="bicubic")
    with torch.no_grad():
        for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.momentum = 1.0  # one pass sets the running statistics of fresh batch norms
        net.backbone(crops(255, 6))
        net.rpn_head.cls.correlate(net.backbone(crops(255, 6)), net.template(crops(127, 7))[0])
        net.eval()
        answers = []
        for shift in (0, 16):
            x = torch.full((1, 3, 255, 255), 120.0)
            x[..., 64:191, 64 + shift : 191 + shift] = z
            own = run_pairs(net, z, x).correlation_cls
            answers.append(own.mean(1)[0])
    best = [divmod(int(a.argmax()), a.shape[-1]) for a in answers]
    assert best[1][0] == best[0][0]
    assert best[1][1] - best[0][1] == 2


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'alexnet'"):
        build_baseline("alex_net")
