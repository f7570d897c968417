from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from model.nets.xcorr import xcorr_depthwise  # noqa: E402


def test_equals_the_sum_of_shifted_products() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 7, 6, generator=generator)
    kernel = torch.randn(2, 3, 4, 3, generator=generator)
    wanted = torch.zeros(2, 3, 4, 4)
    for row in range(4):
        for column in range(4):
            patch = x[:, :, row : row + 4, column : column + 3]
            wanted[:, :, row, column] = (patch * kernel).sum((2, 3))
    torch.testing.assert_close(xcorr_depthwise(x, kernel), wanted)


def test_a_single_kernel_serves_every_search_region() -> None:
    x, kernel = torch.rand(3, 2, 5, 5), torch.rand(1, 2, 2, 2)
    repeated = xcorr_depthwise(x, kernel.repeat(3, 1, 1, 1))
    torch.testing.assert_close(xcorr_depthwise(x, kernel), repeated)
