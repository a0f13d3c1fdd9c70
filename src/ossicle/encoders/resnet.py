"""(B, M, F, N) -> (B, D): residual networks of 18, 34 and 50 layers (He et al. 2016), averaged over the image.

Parameters carry torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, ...) without `fc`, so published weights load.
"""

from __future__ import annotations

from torch import Tensor, nn

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """(B, c, F, N) -> (B, channels, F', N'): two 3 x 3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, image: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(image)))
        inner = self.bn2(self.conv2(inner))
        return self.relu(inner + (image if self.downsample is None else self.downsample(image)))


class Bottleneck(nn.Module):
    """(B, c, F, N) -> (B, 4 channels, F', N'): 1 x 1, 3 x 3 (which carries the stride) and 1 x 1 beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, channels * 4, stride)

    def forward(self, image: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(image)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return self.relu(inner + (image if self.downsample is None else self.downsample(image)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A ResNet of `depth` 18, 34 or 50 for images of any number of maps; `width` channels after the first convolution.

    `dim` is 8 width (18, 34) or 32 width (50): 512 and 2048 at the published width of 64.
    """

    def __init__(self, *, maps: int = 1, depth: int = 18, width: int = 64) -> None:
        super().__init__()
        if depth not in LAYERS:
            raise ValueError(f"a ResNet of depth {depth}; known: {', '.join(map(str, LAYERS))}.")
        if maps < 1 or width < 1:
            raise ValueError(f"{maps} maps and a width of {width}: wanted at least 1 of each.")
        block = Bottleneck if depth == 50 else BasicBlock
        self.conv1 = nn.Conv2d(maps, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = width
        for number, count in enumerate(LAYERS[depth]):
            channels = width * 2**number
            strides = (1 if number == 0 else 2, *(1,) * (count - 1))
            blocks = []
            for stride in strides:
                blocks.append(block(inputs, channels, stride))
                inputs = channels * block.expansion
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.dim = inputs
        self.apply(_initialize)

    def blocks(self) -> list[nn.Module]:
        """The parts from stem to last, as parameter groups."""
        return [nn.ModuleList([self.conv1, self.bn1]), *(self.get_submodule(f"layer{n}") for n in (1, 2, 3, 4))]

    def forward(self, image: Tensor) -> Tensor:
        image = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for layer in self.blocks()[1:]:
            image = layer(image)
        return image.mean((2, 3))


def _initialize(module: nn.Module) -> None:
    """He et al. 2015, fan out: the variance of the gradient is kept from layer to layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
