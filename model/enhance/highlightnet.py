"""HighlightNet: lights up the dark and spares the lit (Fu et al., IROS 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from model.enhance.enhancer import Enhancer

_WIDTH = 4
_TOKENS = 16
_EPSILON = 1e-6


class LevelTransformer(nn.Module):
    """One transformer layer over the 16 x 16 places of the reduced image."""

    def __init__(self, width: int = 16, heads: int = 8, hidden: int = 128) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=0.1)
        self.linear1 = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(0.1)
        self.linear2 = nn.Linear(hidden, width)
        self.norm0 = nn.LayerNorm(width)  # unused, as in the release; its checkpoints hold it
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[N x B x 16] to the same."""
        attended = self.self_attn(tokens, tokens, tokens, need_weights=False)[0]
        tokens = self.norm1(tokens + self.dropout(attended))
        mixed = self.linear2(self.dropout(torch.relu(self.linear1(tokens))))
        out: torch.Tensor = self.norm2(tokens + self.dropout(mixed))
        return out


class HighlightNet(Enhancer):
    """Raises the value v to an exponent of its own at each pixel; the scene sets base and cut."""

    def __init__(self) -> None:
        super().__init__()
        self.e_conv1 = nn.Conv2d(1, _WIDTH, 3, padding=1)
        self.e_conv2 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.e_conv3 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.e_conv4 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.e_conv5 = nn.Conv2d(2 * _WIDTH, _WIDTH, 3, padding=1)
        self.e_conv6 = nn.Conv2d(2 * _WIDTH, _WIDTH, 3, padding=1)
        self.e_conv7 = nn.Conv2d(2 * _WIDTH, 1, 3, padding=1)
        self.model = nn.Sequential(
            nn.Conv2d(1, _TOKENS, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.InstanceNorm2d(_TOKENS, affine=True),
        )
        self.TF = LevelTransformer()
        self.F = nn.Conv2d(_TOKENS, 2, 16)

    def curve(self, value: torch.Tensor) -> torch.Tensor:
        """Curve map [B x 1 x H x W], 0..1, of the value [B x 1 x H x W]."""
        x1 = torch.relu(self.e_conv1(value))
        x2 = torch.relu(self.e_conv2(x1))
        x3 = torch.relu(self.e_conv3(x2))
        x4 = torch.relu(self.e_conv4(x3))
        x5 = torch.relu(self.e_conv5(torch.cat([x3, x4], 1)))
        x6 = torch.relu(self.e_conv6(torch.cat([x2, x5], 1)))
        return torch.sigmoid(self.e_conv7(torch.cat([x1, x6], 1)))

    def levels(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Base 0.2..0.3 and cut 0.06..0.10 of each scene, each [B x 1 x 1 x 1]."""
        features = self.model(F.interpolate(value, (32, 32), mode="nearest"))
        tokens = self.TF(features.flatten(2).permute(2, 0, 1))
        level = torch.sigmoid(self.F(tokens.permute(1, 2, 0).reshape(features.shape)))
        return 0.1 * level[:, :1] + 0.2, 0.04 * level[:, 1:] + 0.06

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Scale all channels by the value's gain."""
        value = image.mean(1, keepdim=True)
        base, cut = self.levels(value)
        exponent = torch.pow(base, self.curve(value))
        raised = torch.pow(value.clamp(_EPSILON, 1.0 - _EPSILON), exponent)
        # Pixels below the cut are noise more than signal: less of them.
        noise = 400.0 * (cut - value).pow(3)
        noise = torch.where(noise < 1e-5, torch.full_like(noise, _EPSILON), noise)
        return image / (value + _EPSILON) * (raised - noise)
