"""RUAS against an independent evaluation of its formula."""

from __future__ import annotations

import numpy as np
import pytest

from model.enhance.registry import build_enhancer

LIT = ("c1_r", "c2_d", "c2_r", "c3_d", "c4")
CLEAN = ("c1_d", "c1_r", "c2_d", "c3_d", "c3_r")


def leaky(a):
    return np.where(a > 0, a, 0.05 * a)


def block(weights, prefix, x, present, shortcuts):
    def operation(place, a):
        if place not in present:
            return a
        dilation = 2 if place == "c2_d" else 1
        out = weights.conv(f"{prefix}.{place}.op", a, dilation)
        return out + a if place in shortcuts else out

    distilled = []
    for stage in ("c1", "c2", "c3"):
        distilled.append(leaky(operation(f"{stage}_d", x)))
        x = leaky(operation(f"{stage}_r", x) + x)
    distilled.append(leaky(operation("c4", x)))
    return weights.conv(f"{prefix}.c5", np.concatenate(distilled))


def local_maximum(x):
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1)))
    views = (padded[:, a : a + x.shape[1], b : b + x.shape[2]] for a in (0, 1) for b in (0, 1))
    return np.max(list(views), axis=0)


def by_hand(weights, image, denoise):
    lit = None
    for i in range(3):
        guess = local_maximum(image if lit is None else lit)
        if lit is not None:
            guess = guess - 0.5 * (lit - image)
        cell = block(weights, f"enhance_net.iems.{i}.cell", guess, LIT, ("c1_r", "c2_d"))
        light = np.clip(1 / (1 + np.exp(-cell)), 0.001, 1)
        lit = np.clip(image / light, 0, 1)
    if denoise:
        features = weights.conv("denoise_net.stem", lit)
        for i in range(3):
            features = block(weights, f"denoise_net.nrms.{i}", features, CLEAN, CLEAN)
        lit = lit - weights.conv("denoise_net.activate.0", features)
    return np.clip(lit, 0, 1)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file"), [("ruas", "upe"), ("ruas", "dark"), ("ruas-denoised", "lol")]
)
def test_released_weights_agree_with_the_formula(name, file, released, weights_of, night):
    enhancer = build_enhancer(name, released(f"RUAS/{file}.pt"))
    denoise = name == "ruas-denoised"
    wanted = by_hand(weights_of(enhancer.state_dict()), night[0].double().numpy(), denoise)
    np.testing.assert_allclose(enhancer(night)[0].double().numpy(), wanted, atol=5e-5)
