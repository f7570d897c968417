"""LDEnhancer: light and content apart, joined by cross attention (vision4robotics, 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from model.enhance.enhancer import Enhancer
from model.enhance.zero_dce import apply_curve
from model.errors import ShapeError

ROUNDS = 4
_WIDTH = 8
_MULTIPLE = 16
_PLACES = 500


class Down(nn.Module):
    """A 2x2 convolution of stride 2, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 2, stride=2),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x H x W] to [B x out x H/2 x W/2]."""
        y: torch.Tensor = self.conv(x)
        return y


class Up(nn.Module):
    """A 2x2 transposed convolution of stride 2, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x in x H x W] to [B x out x 2H x 2W]."""
        y: torch.Tensor = self.upsample(x)
        return y


class DownsampleNet(nn.Module):
    """Four halvings, 3 to 8 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2, self.d3, self.d4 = Down(3, 4), Down(4, 4), Down(4, 8), Down(8, _WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x 3 x H x W] to [B x 8 x H/16 x W/16]."""
        y: torch.Tensor = self.d4(self.d3(self.d2(self.d1(x))))
        return y


class UpsampleNet(nn.Module):
    """Four doublings, 8 to 3 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.u1, self.u2, self.u3, self.u4 = Up(_WIDTH, 8), Up(8, 4), Up(4, 4), Up(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x 8 x H/16 x W/16] to [B x 3 x H x W]."""
        y: torch.Tensor = self.u4(self.u3(self.u2(self.u1(x))))
        return y


class AttentionLayer(nn.Module):
    """Cross attention and a small perceptron, each with a shortcut and a layer norm."""

    def __init__(self, width: int = _WIDTH, heads: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, heads)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(
        self, content: torch.Tensor, light: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        """Content and light [N x B x 8] with the embedding of their places [N x 1 x 8]."""
        query, key = content + place, light + place
        attended = self.multihead_attn(query, key, light, need_weights=False)[0]
        content = self.norm1(content + attended)
        mixed = self.linear2(torch.relu(self.linear1(content)))
        out: torch.Tensor = self.norm2(content + mixed)
        return out


class CrossAttention(nn.Module):
    """The content looks at the light; places are learned per row and column."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = AttentionLayer()
        self.row_embed = nn.Embedding(_PLACES, _WIDTH // 2)
        self.col_embed = nn.Embedding(_PLACES, _WIDTH // 2)

    def forward(self, content: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        """Both [B x 8 x h x w]; the content after attention."""
        rows, cols = content.shape[-2:]
        if max(rows, cols) > _PLACES:
            side = _PLACES * _MULTIPLE
            raise ShapeError(f"LDEnhancer takes images of at most {side} px a side")
        by_col = self.col_embed.weight[:cols].expand(rows, cols, -1)
        by_row = self.row_embed.weight[:rows].unsqueeze(1).expand(rows, cols, -1)
        place = torch.cat([by_col, by_row], 2).reshape(rows * cols, 1, _WIDTH)
        tokens = (x.flatten(2).permute(2, 0, 1) for x in (content, light))
        attended: torch.Tensor = self.layer(*tokens, place)
        return attended.permute(1, 2, 0).reshape(content.shape)


class EstimateNet(nn.Module):
    """Five convolutions that give four curve maps of three channels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.e_conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.e_conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.e_conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.e_conv4 = nn.Conv2d(2 * width, width, 3, padding=1)
        self.e_conv5 = nn.Conv2d(2 * width, 3 * ROUNDS, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B x 3 x H x W] to [B x 12 x H x W], −1..1."""
        x1 = torch.relu(self.e_conv1(x))
        x2 = torch.relu(self.e_conv2(x1))
        x3 = torch.relu(self.e_conv3(x2))
        x4 = torch.relu(self.e_conv4(torch.cat([x2, x3], 1)))
        return torch.tanh(self.e_conv5(torch.cat([x1, x4], 1)))


class LDEnhancer(Enhancer):
    """Curves of the content minus curves of the light, in four rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.downsamplenet = DownsampleNet()
        self.upsamplenet_light = UpsampleNet()
        self.upsamplenet_content = UpsampleNet()
        self.CrossAttention = CrossAttention()
        self.decompose = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.light_estimation = EstimateNet()
        self.content_estimation = EstimateNet()

    def enhance(self, image: torch.Tensor) -> torch.Tensor:
        """Enhance at a multiple of 16 px, mirrored at the right and lower edge."""
        rows, cols = image.shape[-2:]
        down, right = -rows % _MULTIPLE, -cols % _MULTIPLE
        mode = "reflect" if down < rows and right < cols else "replicate"
        padded = F.pad(image, (0, right, 0, down), mode=mode)
        features = self.downsamplenet(padded)
        light = self.decompose(features)
        content = self.CrossAttention(features - light, light)
        curves = self.content_estimation(self.upsamplenet_content(content))
        curves = curves - self.light_estimation(self.upsamplenet_light(light))
        for curve in curves.chunk(ROUNDS, dim=1):
            padded = apply_curve(padded, curve)
        return padded[..., :rows, :cols]
