"""Networks by name, for the command line and for first steps."""

from __future__ import annotations

from collections.abc import Callable

from . import nn


def lenet(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """A small LeNet for images of any size: two 3x3 convolutions, one pooling, two linears."""
    channels, height, width = shape
    if height < 2 or width < 2:
        raise ValueError(f"lenet: expected images of at least 2x2, got {height}x{width}")
    features = 32 * (height // 2) * (width // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(features, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def lenet5(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """LeNet-5 (LeCun et al. 1998) with ReLU and maximum pooling, for 28x28 images and the like."""
    channels, height, width = shape
    rows, columns = (height // 2 - 4) // 2, (width // 2 - 4) // 2
    if rows < 1 or columns < 1:
        raise ValueError(f"lenet5: expected images of at least 12x12, got {height}x{width}")
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * rows * columns, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def mlp(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """One hidden layer of 256."""
    features = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, classes))


def logistic(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))


def _conv_norm(
    channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(filters)]


def _head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def resnet20(shape: tuple[int, ...], classes: int, width: int = 16) -> nn.Sequential:
    """ResNet-20 for small images (He et al. 2016): three stages of three blocks.

    Where a block changes the shape its shortcut is a 1x1 convolution with batch norm.
    """

    def block(channels: int, filters: int, stride: int) -> list[nn.Module]:
        body = nn.Sequential(
            *_conv_norm(channels, filters, 3, stride), nn.ReLU(), *_conv_norm(filters, filters, 3)
        )
        same = stride == 1 and channels == filters
        shortcut = None if same else nn.Sequential(*_conv_norm(channels, filters, 1, stride))
        return [nn.Residual(body, shortcut), nn.ReLU()]

    layers = [*_conv_norm(shape[0], width, 3), nn.ReLU()]
    channels = width
    for stage in range(3):
        for i in range(3):
            filters = width << stage
            layers += block(channels, filters, 2 if stage and i == 0 else 1)
            channels = filters
    return nn.Sequential(*layers, *_head(channels, classes))


def vgg(shape: tuple[int, ...], classes: int, width: int = 64) -> nn.Sequential:
    """VGG-11 (Simonyan and Zisserman 2015) with batch norm, pooling while the image is large."""
    channels, side = shape[0], min(shape[1:])
    layers: list[nn.Module] = []
    for depth, filters in ((1, width), (1, 2 * width), (2, 4 * width), (2, 8 * width)):
        for _ in range(depth):
            layers += [*_conv_norm(channels, filters, 3), nn.ReLU()]
            channels = filters
        if side >= 2:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*layers, *_head(channels, classes))


def mobilenet(shape: tuple[int, ...], classes: int, width: int = 32) -> nn.Sequential:
    """Depthwise and 1x1 convolutions in turn (Howard et al. 2017), ReLU6 after each."""
    layers = [*_conv_norm(shape[0], width, 3), nn.ReLU6()]
    channels = width
    for filters, stride in ((2 * width, 1), (4 * width, 2), (4 * width, 1), (8 * width, 2)):
        layers += [*_conv_norm(channels, channels, 3, stride, channels), nn.ReLU6()]
        layers += [*_conv_norm(channels, filters, 1), nn.ReLU6()]
        channels = filters
    return nn.Sequential(*layers, *_head(channels, classes))


def series_cnn(shape: tuple[int, ...], classes: int, width: int = 16) -> nn.Sequential:
    """A 1-D network for series (channels, length)."""
    return nn.Sequential(
        nn.Conv1d(shape[0], width, 7, padding="same"),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(width, 2 * width, 5, padding="same"),
        nn.BatchNorm1d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )


def volume_cnn(shape: tuple[int, ...], classes: int, width: int = 8) -> nn.Sequential:
    """A 3-D network for volumes (channels, depth, height, width)."""
    return nn.Sequential(
        nn.Conv3d(shape[0], width, 3, padding=1),
        nn.BatchNorm3d(width),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )


MODELS: dict[str, Callable[[tuple[int, ...], int], nn.Sequential]] = {
    "lenet": lenet,
    "lenet5": lenet5,
    "mlp": mlp,
    "logistic": logistic,
    "resnet20": resnet20,
    "vgg": vgg,
    "mobilenet": mobilenet,
}
"""For images (channels, height, width)."""
