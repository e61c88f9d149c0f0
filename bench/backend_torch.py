"""The cases in PyTorch, eager."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from cases import Case, layer_arrays, model_state, step_arrays, training_arrays
from ops import op_call, op_gradient
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

version = f"PyTorch {torch.__version__}"
memory_format = torch.contiguous_format


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


class _Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
            nn.BatchNorm2d(filters),
        )
        self.shortcut = nn.Sequential()
        if channels != filters:
            self.shortcut.append(nn.Conv2d(channels, filters, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(filters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def _layer(kind: str, *sizes: Any) -> nn.Module:
    if kind == "conv":
        channels, filters, kernel, stride, padding, *bias = sizes
        return nn.Conv2d(channels, filters, kernel, stride, padding, bias=not bias)
    makers = {
        "linear": nn.Linear,
        "relu": nn.ReLU,
        "max_pool": nn.MaxPool2d,
        "avg_pool": nn.AvgPool2d,
        "batch_norm": nn.BatchNorm2d,
        "flatten": nn.Flatten,
        "block": _Block,
    }
    return makers[kind](*sizes)


def _laid_out(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def step(case: Case, wrap: Callable[[nn.Module], Any] = lambda m: m) -> Callable[[], object]:
    """A training step of the model that `wrap` makes of it."""
    images, labels = step_arrays(case)
    x, y = _laid_out(torch.from_numpy(images)), torch.from_numpy(labels)
    model = nn.Sequential(*(_layer(*layer) for layer in case["layers"]))
    model.to(memory_format=memory_format)
    run_model = wrap(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def run() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(run_model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()  # piste's step returns the loss too

    return run


def _predict(case: Case) -> Callable[[], object]:
    x = _laid_out(torch.from_numpy(step_arrays(case)[0]))
    model = nn.Sequential(*(_layer(*layer) for layer in case["layers"])).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = {name: torch.from_numpy(array) for name, array in model_state(shapes).items()}
    model.load_state_dict(state, strict=False)
    model.to(memory_format=memory_format)
    return torch.inference_mode()(lambda: model(x))


def _training(case: Case) -> Callable[[], object]:
    x, y, x_test, y_test = (torch.from_numpy(array) for array in training_arrays(case))
    loader = DataLoader(TensorDataset(x, y), batch_size=case["batch"], shuffle=True)

    def batches() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        if case.get("loader"):
            return loader
        return ((x[i], y[i]) for i in torch.randperm(len(x)).split(case["batch"]))

    def train(lr: float) -> nn.Module:
        model = nn.Sequential(*(_layer(*layer) for layer in case["layers"]))
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=case["momentum"])
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(images.float() / 255), labels).backward()
            optimizer.step()
        return model

    def run() -> tuple[float, list[float]]:
        start = time.perf_counter()
        models = [train(lr) for lr in case["rates"]]
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            guesses = [model(x_test.float() / 255).argmax(1) for model in models]
        return seconds, [(guess == y_test).float().mean().item() for guess in guesses]

    return run


def _operation(case: Case) -> Callable[[], object]:
    op, values, options, differentiable = op_call(case)
    function = getattr(F, op)
    arguments = [
        _laid_out(torch.from_numpy(value)) if isinstance(value, np.ndarray) else value
        for value in values
    ]
    if case["direction"] == "forward":
        return torch.inference_mode()(lambda: function(*arguments, **options))
    inputs = [arguments[i].requires_grad_() for i in differentiable]
    grad = torch.from_numpy(op_gradient(function(*arguments, **options).shape))

    def training() -> tuple[torch.Tensor, ...]:
        y = function(*arguments, **options)
        return y.detach(), *torch.autograd.grad(y, inputs, grad)

    return training


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] == "training":
        return _training(case)
    flat = case["kind"] == "linear" or len(case["input"]) == 2
    if flat and memory_format is torch.channels_last:
        return None  # nothing to lay out
    if case["kind"] == "step":
        return step(case)
    if case["kind"] == "predict":
        return _predict(case)
    if case["kind"] == "op":
        return _operation(case)
    x, weight, bias, grad = (_laid_out(torch.from_numpy(a)) for a in layer_arrays(case))

    def forward() -> torch.Tensor:
        if case["kind"] == "linear":
            return F.linear(x, weight, bias)
        options = (case["stride"], case["padding"], 1, case["groups"])
        return F.conv2d(x, weight, bias, *options)

    if case["direction"] == "forward":
        return torch.inference_mode()(forward)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    y = forward()
    return lambda: torch.autograd.grad(y, inputs, grad, retain_graph=True)
