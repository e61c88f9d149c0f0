"""Optimisers, schedules of the learning rate, and averages of weights."""

from .averages import EMA, SWA
from .clipping import clip_grad_norm_, clip_grad_value_
from .one_cycle import OneCycleLR
from .optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from .plateau import ReduceLROnPlateau
from .schedules import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    Schedule,
    SequentialLR,
    StepLR,
)

__all__ = [
    "EMA",
    "SGD",
    "SWA",
    "Adagrad",
    "Adam",
    "AdamW",
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]
