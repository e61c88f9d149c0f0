"""The cases in piste."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import piste
from cases import Case, layer_arrays, model_state, step_arrays, training_arrays
from ops import op_call, op_gradient
from piste import _core, nn
from piste import functional as F

version = f"piste {piste.__version__} ({_core.active_isa()})"


def set_threads(threads: int) -> None:
    piste.set_num_threads(threads)


def _block(channels: int, filters: int, stride: int) -> nn.Sequential:
    body = nn.Sequential(
        nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
        nn.BatchNorm2d(filters),
    )
    if channels == filters:
        return nn.Sequential(nn.Residual(body), nn.ReLU())
    shortcut = nn.Sequential(
        nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
    )
    return nn.Sequential(nn.Residual(body, shortcut), nn.ReLU())


def _layer(kind: str, *sizes: Any) -> nn.Module:
    if kind == "conv":
        channels, filters, kernel, stride, padding, *bias = sizes
        return nn.Conv2d(channels, filters, kernel, stride, padding, bias=not bias)
    makers: dict[str, Callable[..., nn.Module]] = {
        "linear": nn.Linear,
        "relu": nn.ReLU,
        "max_pool": nn.MaxPool2d,
        "avg_pool": nn.AvgPool2d,
        "batch_norm": nn.BatchNorm2d,
        "flatten": nn.Flatten,
        "block": _block,
    }
    return makers[kind](*sizes)


def _model(case: Case) -> nn.Sequential:
    return nn.Sequential(*(_layer(*layer) for layer in case["layers"]))


def step_trainer(case: Case) -> piste.Trainer:
    """Whose steps are timed."""
    optimizer = piste.optim.SGD(lr=1e-3, momentum=0.9)
    return piste.Trainer(_model(case), nn.CrossEntropyLoss(), optimizer)


def _predict(case: Case) -> Callable[[], object]:
    x, model = step_arrays(case)[0], _model(case)
    state = model.state_dict()
    state.update(model_state({name: array.shape for name, array in state.items()}))
    model.load_state_dict(state)
    return lambda: model(x)


def _training(case: Case) -> Callable[[], object]:
    x, y, *held_out = training_arrays(case)
    loss = nn.CrossEntropyLoss()
    optimizers = [piste.optim.SGD(lr, momentum=case["momentum"]) for lr in case["rates"]]

    def run() -> tuple[float, list[float]]:
        start = time.perf_counter()
        if case.get("sweep"):
            trainers = piste.sweep(
                lambda: _model(case), loss, x, y, optimizers=optimizers, batch_size=case["batch"]
            ).trainers
        else:
            trainers = [piste.Trainer(_model(case), loss, each) for each in optimizers]
            for trainer in trainers:
                trainer.fit(x, y, epochs=1, batch_size=case["batch"])
        seconds = time.perf_counter() - start
        return seconds, [trainer.evaluate(*held_out)[1] for trainer in trainers]

    return run


def _operation(case: Case) -> Callable[[], object]:
    op, arguments, options, _ = op_call(case)
    forward = getattr(F, op)
    if case["direction"] == "forward":
        return lambda: forward(*arguments, **options)
    grad = op_gradient(forward(*arguments, **options).shape)
    backward = getattr(F, f"{op}_backward")

    def training() -> tuple[object, ...]:
        return forward(*arguments, **options), *backward(grad, *arguments, **options)

    return training


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] == "step":
        x, y = step_arrays(case)
        trainer = step_trainer(case)
        return lambda: trainer.step(x, y)
    if case["kind"] == "predict":
        return _predict(case)
    if case["kind"] == "training":
        return _training(case)
    if case["kind"] == "op":
        return _operation(case)
    x, weight, bias, grad = layer_arrays(case)
    forward = case["direction"] == "forward"
    if case["kind"] == "linear":
        if forward:
            return lambda: F.linear(x, weight, bias)
        return lambda: F.linear_backward(grad, x, weight, bias)
    options = {name: case[name] for name in ("stride", "padding", "groups")}
    if forward:
        return lambda: F.conv2d(x, weight, bias, **options)
    return lambda: F.conv2d_backward(grad, x, weight, bias, **options)
