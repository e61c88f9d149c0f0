"""Losses that are minus the logarithm of a probability."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray, as_array, as_float
from ._arguments import as_finite, as_flag
from ._losses import REDUCTIONS, PointwiseLoss, as_reduction
from .losses import Gradients


def _bce(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    loss = PointwiseLoss(
        "bce", input, target, reduction, broadcast=False, weight=weight, whole=False
    )
    _check_probabilities(loss.x, "input", "; binary_cross_entropy_with_logits takes any number")
    _check_probabilities(loss.t, "target")
    return loss


def _check_probabilities(x: FloatArray, name: str, hint: str = "") -> None:
    if not x.size or (x.min() >= 0 and x.max() <= 1):
        return
    wrong = x[(x < 0) | (x > 1)]  # empty where it is NaN alone that fails the test above
    if wrong.size:
        raise ValueError(f"{name}: expected probabilities from 0 to 1, got {wrong[0]}{hint}")


def binary_cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> FloatArray:
    """``-(target * log(input) + (1 - target) * log(1 - input))``: cross-entropy of two classes.

    Parameters
    ----------
    input
        Probabilities from 0 to 1, float32 or float64. A logarithm counts as no less than -100, so
        that a wrong certainty costs 100.
    target
        Of the input's shape and dtype, from 0 to 1.
    weight
        Factors of the values' losses, of a shape that broadcasts to the input's; constants, without
        a gradient. A mean still divides by the number of values.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the input's without reduction; of the input's dtype.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For other shapes and reductions, and for what is below 0 or above 1. NaN goes through.
    """
    return _bce(input, target, weight, size_average, reduce, reduction).forward()


def binary_cross_entropy_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Gradients:
    """Gradients of `binary_cross_entropy` by input and target.

    That by the input is ``(input - target) / max(input * (1 - input), 1e-12)``.
    """
    return _bce(input, target, weight, size_average, reduce, reduction).backward(grad_output)


def _bce_with_logits(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    pos_weight: npt.ArrayLike | None,
) -> PointwiseLoss:
    return PointwiseLoss(
        "bce_with_logits",
        input,
        target,
        as_reduction(reduction, size_average, reduce),
        broadcast=False,
        weight=weight,
        extra=("pos_weight", pos_weight),
        whole=False,
    )


def binary_cross_entropy_with_logits(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: npt.ArrayLike | None = None,
) -> FloatArray:
    """`binary_cross_entropy` of ``sigmoid(input)``, accurate for logits of any size.

    With ``softplus(x) = log(1 + exp(x))`` it is ``pos_weight * target * softplus(-input) + (1 -
    target) * softplus(input)``.

    Parameters
    ----------
    input
        Logits, float32 or float64.
    target, weight, size_average, reduce, reduction
        As in `binary_cross_entropy`.
    pos_weight
        Weight of positive targets, of a shape that broadcasts to the input's: one per class, say.

    Returns
    -------
    ndarray
        Of shape (), or of the input's without reduction; of the input's dtype.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For other shapes and reductions.
    """
    return _bce_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    ).forward()


def binary_cross_entropy_with_logits_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of `binary_cross_entropy_with_logits` by input and target."""
    return _bce_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    ).backward(grad_output)


def _kl_div(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    log_target: bool,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce, (*REDUCTIONS, "batchmean"))
    kind = "kl_div_log_target" if as_flag(log_target, "log_target") else "kl_div"
    return PointwiseLoss(kind, input, target, reduction, whole=False)


def kl_div(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> FloatArray:
    """Kullback and Leibler's divergence, ``target * (log(target) - input)`` of log-probabilities.

    Parameters
    ----------
    input
        Log-probabilities, float32 or float64.
    target
        Probabilities, or with `log_target` their logarithms; its shape broadcasts with the
        input's. Where the probability is 0 the loss is 0, whatever the input is.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"`` over all values, ``"sum"``, ``"none"``, or ``"batchmean"``: the sum divided by
        the input's first extent, which is the divergence's mean over samples.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, shapes and reductions.
    """
    return _kl_div(input, target, size_average, reduce, reduction, log_target).forward()


def kl_div_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Gradients:
    """Gradients of `kl_div` by input and target; that by a target of 0 is -infinity."""
    return _kl_div(input, target, size_average, reduce, reduction, log_target).backward(grad_output)


def _poisson_nll(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    log_input: bool,
    full: bool,
    size_average: bool | None,
    eps: float,
    reduce: bool | None,
    reduction: str,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    kind = "poisson_nll_log_input" if as_flag(log_input, "log_input") else "poisson_nll"
    offset, whole = as_finite(eps, "eps", 0), float(as_flag(full, "full"))
    return PointwiseLoss(kind, input, target, reduction, a=offset, b=whole)


def poisson_nll_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> FloatArray:
    """Minus the log-likelihood of counts `target` under Poisson distributions.

    Parameters
    ----------
    input
        Logarithms of the expected counts: the loss is ``exp(input) - target * input``. Without
        `log_input` the counts themselves: ``input - target * log(input + eps)``.
    target
        Counts, of the input's dtype or integers, of a shape that broadcasts with its.
    full
        Add Stirling's approximation of ``log(target!)``, ``target * log(target) - target + 0.5 *
        log(2 * pi * target)``, for targets above 1.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    eps
        At least 0.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, shapes and options.
    """
    return _poisson_nll(
        input, target, log_input, full, size_average, eps, reduce, reduction
    ).forward()


def poisson_nll_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Gradients:
    """Gradients of `poisson_nll_loss` by input and target."""
    return _poisson_nll(
        input, target, log_input, full, size_average, eps, reduce, reduction
    ).backward(grad_output)


def _gaussian_nll(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    var: npt.ArrayLike | float,
    full: bool,
    eps: float,
    reduction: str,
) -> PointwiseLoss:
    x = as_float(input, "input")
    number = isinstance(var, (int, float)) and not isinstance(var, bool)
    variance = as_float(np.asarray(var, x.dtype) if number else var, "var", like=x)
    if variance.size and (variance < 0).any():
        raise ValueError(f"var: expected values of at least 0, got {variance.min()}")
    if variance.shape not in ((), x.shape) and variance.shape == x.shape[:-1]:
        variance = variance[..., None]
    elif variance.ndim not in (0, x.ndim):
        raise ValueError(
            f"var: expected a number, the input's shape {x.shape}, or that without or with 1 for "
            f"some of its extents, got {variance.shape}"
        )
    return PointwiseLoss(
        "gaussian_nll",
        x,
        target,
        as_reduction(reduction),
        a=as_finite(eps, "eps", 0),
        b=0.5 * math.log(2 * math.pi) if full else 0.0,
        extra=("var", variance),
        differentiable=2 if number else 3,
    )


def gaussian_nll_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    var: npt.ArrayLike | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> FloatArray:
    """Minus the log-likelihood of `target` under normal distributions.

    With ``v = max(var, eps)`` it is ``0.5 * (log(v) + (input - target)**2 / v)``.

    Parameters
    ----------
    input
        The means, float32 or float64.
    target
        Of the input's dtype or integers, of a shape that broadcasts with its.
    var
        The variances: of the input's shape; with extents of 1 or without the last extent, for
        variances that are shared; or a number. At least 0.
    full
        Add the constant ``0.5 * log(2 * pi)``.
    eps
        Lower bound of the variances.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, shapes and options, and for a negative variance.

    Notes
    -----
    Nix and Weigend 1994, "Estimating the mean and variance of the target probability distribution".
    """
    return _gaussian_nll(input, target, var, full, eps, reduction).forward()


def gaussian_nll_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    var: npt.ArrayLike | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Gradients:
    """Gradients of `gaussian_nll_loss` by input, target and, unless it is a number, var.

    That by `var` is that of ``v``, also where `eps` takes its place.
    """
    gradients = _gaussian_nll(input, target, var, full, eps, reduction).backward(grad_output)
    if isinstance(var, (int, float)):
        return gradients
    *others, last = gradients
    return (*others, None if last is None else last.reshape(as_array(var, "var").shape))
