"""Optimisers: hyperparameters in Python, the update in C++."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from .._arrays import describe
from ..functional._arguments import as_finite, as_share

Groups = Sequence[dict[str, Any]]
_FLAGS = frozenset({"nesterov", "maximize", "amsgrad", "centered"})


class Optimizer:
    """What all optimisers have: hyperparameters, which may be changed between steps, and groups.

    A group is a dictionary ``{"params": [names], "lr": ...}``: parameters (by their dotted name in
    the model, or a prefix of it such as ``"0"``) with hyperparameters of their own. One whose `lr`
    is 0 freezes them: ``groups=[{"params": ["0"], "lr": 0}]`` trains all but the first layer.
    """

    lr: float
    weight_decay: float
    groups: list[dict[str, Any]]

    _rule: ClassVar[str]  # the core's name of it
    _decoupled: ClassVar[bool] = False
    _momentum: ClassVar[str | None] = None  # the option that a schedule may cycle
    _changes = 0  # of attributes

    def __init__(self, groups: Groups, **options: Any) -> None:
        self._names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)
        self._check(self._defaults())
        self.groups = groups  # type: ignore[assignment]

    def __new__(cls, *args: object, **options: object) -> Self:
        """Whoever brings parameters along, as PyTorch's optimisers want them, is told."""
        first = args[0] if args else options.get("params")
        several = isinstance(first, Iterable) and not isinstance(first, (str, bytes, np.ndarray))
        if several and cls.__init__.__module__ == __name__:  # others may take what they like
            raise TypeError(
                f"{cls.__name__}: expected a learning rate, got {describe(first)}; the trainer "
                f"brings the parameters: piste.Trainer(model, loss, {cls.__name__}(lr=...))"
            )
        return super().__new__(cls)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse what would have no effect; classes of others may have attributes of their own."""
        known = ("groups", "_names", *self.__dict__.get("_names", ()))
        if name not in known and type(self).__module__ == __name__:
            shown = ", ".join(known[2:] + known[:1])
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}, only {shown}")
        if name in known[2:]:
            value = _as_option(name, value)
        elif name == "groups":
            value = self._as_groups(value)
        super().__setattr__(name, value)
        super().__setattr__("_changes", self._changes + 1)

    def _as_groups(self, groups: object) -> list[dict[str, Any]]:
        if not isinstance(groups, (list, tuple)) or not all(isinstance(g, dict) for g in groups):
            raise TypeError(f"groups: expected a list of dictionaries, got {groups!r}")
        result = []
        for group in groups:
            unknown = group.keys() - {"params", *self._names}
            if unknown or "params" not in group:
                raise ValueError(f"groups: expected 'params' and hyperparameters, got {group}")
            names = group["params"]
            listed = isinstance(names, (list, tuple))
            wrong = [n for n in names if not isinstance(n, str)] if listed else [names]
            if wrong:
                raise TypeError(
                    "groups: expected 'params' to be a list of names, got "
                    f"{describe(wrong[0])}{' in it' * listed}"
                )
            own = {name: _as_option(name, v) for name, v in group.items() if name != "params"}
            self._check({**self._defaults(), **own})
            result.append({"params": list(names), **own})
        return result

    def _defaults(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def options(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Hyperparameters of each named parameter.

        Raises
        ------
        ValueError, TypeError
            Where groups name no parameter, or one of them twice, or a hyperparameter has been set
            to nonsense.
        """
        groups = self._as_groups(self.groups)  # which may have been written to
        for group in groups:
            for wanted in group["params"]:
                if not any(_matches(name, wanted) for name in names):
                    raise ValueError(f"groups: no parameter {wanted!r}; there are {list(names)}")
        result = []
        for name in names:
            options = self._defaults()
            named = [
                (wanted, group)
                for group in groups
                for wanted in group["params"]
                if _matches(name, wanted)
            ]
            if len(named) > 1:
                by = " and ".join(repr(wanted) for wanted, _ in named)
                raise ValueError(
                    f"groups: expected each parameter at most once, got {name!r} by {by}"
                )
            for _, group in named:
                options.update({k: v for k, v in group.items() if k != "params"})
            self._check(options)
            result.append(options)
        return result

    def _states(self) -> dict[str, str | None]:
        """The arrays kept for a parameter, and the option without which each is not needed."""
        raise NotImplementedError

    def _check(self, options: dict[str, Any]) -> None:
        """Refuse hyperparameters that are none, or that do not go together."""
        for name, value in options.items():
            if name != "params":
                _as_option(name, value)

    def _describe(self) -> dict[str, Any]:
        groups = self._as_groups(self.groups)
        return {"class": type(self).__name__, **self._defaults(), "groups": groups}

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self._defaults().items())
        return f"{type(self).__name__}({options})"


def _as_option(name: str, value: Any) -> Any:
    """A hyperparameter's value as it is kept: checked, and nothing that could be written to."""
    if name in _FLAGS:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name}: expected True or False, got {value!r}")
    elif name == "betas":
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise TypeError(f"betas: expected two numbers, got {value!r}")
        for i, beta in enumerate(value):
            as_share(beta, f"betas[{i}]", whole=False)
        return tuple(_as_scalar(beta) for beta in value)
    elif name == "alpha":
        as_share(value, "alpha")
    else:
        as_finite(value, name, *(() if name == "dampening" else (0,)))
    return _as_scalar(value)


def _as_scalar(value: Any) -> Any:
    """Python's number, which a file can hold, of NumPy's."""
    return value.item() if isinstance(value, (np.ndarray, np.generic)) else value


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted + ".")


class SGD(Optimizer):
    """Stochastic gradient descent, by PyTorch's rules.

    Parameters
    ----------
    lr
        Learning rate, the step's size along the negative gradient.
    momentum, dampening, weight_decay, nesterov, maximize
        As in ``torch.optim.SGD``; weight decay is added to the gradient.
    groups
        See `Optimizer`.

    Raises
    ------
    ValueError
        For values that are not finite or negative, or Nesterov without momentum or with dampening.
    """

    _rule = "sgd"
    _momentum = "momentum"

    momentum: float
    dampening: float
    nesterov: bool
    maximize: bool

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        groups: Groups = (),
    ) -> None:
        super().__init__(
            groups, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
            nesterov=nesterov, maximize=maximize,
        )  # fmt: skip

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError("nesterov: needs a momentum above 0 and no dampening")

    def _states(self) -> dict[str, str | None]:
        return {"momentum_buffer": "momentum"}


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), by PyTorch's rules.

    Parameters
    ----------
    lr
        Learning rate, about the most that a step changes a weight by.
    betas
        Decays of the means of the gradient and of its square.
    eps
        Added to the root of the latter.
    weight_decay
        Added to the gradient, times the weight.
    amsgrad
        Divide by the largest mean of squares so far (Reddi et al. 2018).
    maximize
        Ascend.
    groups
        See `Optimizer`.

    Raises
    ------
    ValueError, TypeError
        For values that are not finite or negative, or betas of 1 or more.
    """

    _rule = "adam"
    _momentum = "betas"

    betas: tuple[float, float]
    eps: float
    amsgrad: bool
    maximize: bool

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        groups: Groups = (),
    ) -> None:
        super().__init__(
            groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
            maximize=maximize,
        )  # fmt: skip

    def _states(self) -> dict[str, str | None]:
        return {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"}


class AdamW(Adam):
    """Adam whose weights decay by themselves (Loshchilov and Hutter 2019): by lr * weight_decay.

    Parameters and errors are those of `Adam`.
    """

    _decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        groups: Groups = (),
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, amsgrad, maximize=maximize, groups=groups)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012), by PyTorch's rules.

    Parameters
    ----------
    lr
        Learning rate.
    alpha
        Decay of the mean of squared gradients, from 0 to 1.
    eps
        Added to its root.
    weight_decay
        Added to the gradient, times the weight.
    momentum
        Of the steps.
    centered
        Divide by the gradient's standard deviation (Graves 2013).
    maximize
        Ascend.
    groups
        See `Optimizer`.

    Raises
    ------
    ValueError, TypeError
        For values that are not finite or negative, or an alpha above 1.
    """

    _rule = "rmsprop"
    _momentum = "momentum"

    alpha: float
    eps: float
    momentum: float
    centered: bool
    maximize: bool

    def __init__(
        self,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        groups: Groups = (),
    ) -> None:
        super().__init__(
            groups, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
            centered=centered, maximize=maximize,
        )  # fmt: skip

    def _states(self) -> dict[str, str | None]:
        return {"square_avg": None, "grad_avg": "centered", "momentum_buffer": "momentum"}


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011), by PyTorch's rules.

    Parameters
    ----------
    lr
        Learning rate.
    lr_decay
        Update t, from 0, takes lr / (1 + t * lr_decay).
    weight_decay
        Added to the gradient, times the weight.
    initial_accumulator_value
        What the sum of squared gradients starts from.
    eps
        Added to the root of that sum.
    maximize
        Ascend.
    groups
        See `Optimizer`.

    Raises
    ------
    ValueError, TypeError
        For values that are not finite or negative.
    """

    _rule = "adagrad"

    lr_decay: float
    initial_accumulator_value: float
    eps: float
    maximize: bool

    def __init__(
        self,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        groups: Groups = (),
    ) -> None:
        super().__init__(
            groups, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps, maximize=maximize,
        )  # fmt: skip

    def _states(self) -> dict[str, str | None]:
        return {"sum": None}
