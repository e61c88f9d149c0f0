"""Exceptions of piste's own."""

from __future__ import annotations


class DivergenceError(ArithmeticError):
    """Training produced a number that is not finite. The last good weights were kept.

    Attributes
    ----------
    step : int
        The step that failed, counted from 0.
    loss : float
        Its loss.
    lr : float
        The learning rate (the largest, where groups differ).
    layer : str
        The first layer whose output, weights or gradients are not finite.
    """

    def __init__(self, step: int, loss: float, lr: float, layer: str) -> None:
        super().__init__(
            f"training diverged at step {step}: loss {loss:g}, learning rate {lr:g}, first "
            f"non-finite layer {layer!r}; the last good weights were kept"
        )
        self.step, self.loss, self.lr, self.layer = step, loss, lr, layer

    def __reduce__(self) -> tuple[type, tuple[int, float, float, str]]:
        return type(self), (self.step, self.loss, self.lr, self.layer)
