"""GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842) in Gluon, as torchvision has it; Gluon's own zoo has none.

With batch norm (eps 1e-3) after every convolution, 3x3 where the paper has 5x5, and pools that round up; blocks carry
torchvision's names.
"""

from __future__ import annotations

from typing import Any

from mxnet.gluon import HybridBlock, nn

from vizkit.contract.spec import IMAGENET_MEAN, IMAGENET_STD
from vizkit.zoo.architecture import INCEPTIONS


def _sequence(*blocks: Any) -> Any:
    sequence = nn.HybridSequential()
    sequence.add(*blocks)
    return sequence


class BasicConv2d(HybridBlock):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, channels: int, source: int, size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2D(channels, size, stride, padding, use_bias=False, in_channels=source)
        self.bn = nn.BatchNorm(epsilon=1e-3, in_channels=channels)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Activation(self.bn(self.conv(x)), act_type="relu")


class Inception(HybridBlock):
    """Four branches side by side: 1x1; 1x1 then 3x3; 1x1 then 3x3 (the paper's 5x5); max-pool then 1x1."""

    def __init__(self, source: int, one: int, two: tuple[int, int], three: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(one, source, 1)
        self.branch2 = _sequence(BasicConv2d(two[0], source, 1), BasicConv2d(two[1], two[0], 3, padding=1))
        self.branch3 = _sequence(BasicConv2d(three[0], source, 1), BasicConv2d(three[1], three[0], 3, padding=1))
        self.branch4 = _sequence(nn.MaxPool2D(3, 1, 1, ceil_mode=True), BasicConv2d(pool, source, 1))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x), dim=1)


class GoogLeNet(HybridBlock):
    """(N, 3, H, W) to logits (N, classes). ``transform_input`` takes ImageNet-normalised pixels to the -1..1 that
    torchvision's published weights were trained on."""

    def __init__(self, classes: int = 1000, transform_input: bool = False) -> None:
        super().__init__()
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(64, 3, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2D(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(192, 64, 3, padding=1)
        self.maxpool2 = nn.MaxPool2D(3, 2, ceil_mode=True)
        for name, channels in INCEPTIONS.items():
            setattr(self, name, Inception(*channels))
        self.maxpool3 = nn.MaxPool2D(3, 2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2D(2, 2, ceil_mode=True)
        self.avgpool = nn.GlobalAvgPool2D()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Dense(classes, in_units=1024)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self.transform_input:
            channels = [
                F.slice_axis(x, axis=1, begin=i, end=i + 1) * (IMAGENET_STD[i] / 0.5) + (IMAGENET_MEAN[i] - 0.5) / 0.5
                for i in range(3)
            ]
            x = F.concat(*channels, dim=1)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.maxpool4(self.inception4e(self.inception4d(x)))
        x = self.avgpool(self.inception5b(self.inception5a(x)))
        return self.fc(self.dropout(F.flatten(x)))
