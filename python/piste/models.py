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


MODELS: dict[str, Callable[[tuple[int, ...], int], nn.Sequential]] = {
    "lenet": lenet,
    "lenet5": lenet5,
    "mlp": mlp,
    "logistic": logistic,
}
