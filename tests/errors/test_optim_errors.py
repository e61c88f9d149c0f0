"""Hyperparameters that make no sense."""

import copy
import pickle

import numpy as np
import pytest
from piste import nn
from piste.optim import SGD, Adagrad, Adam, AdamW, RMSprop


@pytest.mark.parametrize("name", ["lr", "momentum", "dampening", "weight_decay"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1.0, ValueError), (float("nan"), ValueError), (float("inf"), ValueError),
        ("fast", TypeError), (None, TypeError), (True, TypeError), ([0.1], TypeError),
    ],
)  # fmt: skip
def test_numbers(name, value, error):
    if name == "dampening" and value == -1.0:
        pytest.skip("PyTorch allows it")
    with pytest.raises(error, match=f"{name}: expected a (finite )?number"):
        SGD(**{"lr": 0.1, name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nesterov": True}, "nesterov: needs a momentum above 0 and no dampening"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov: needs a momentum"),
        ({"groups": [{"lr": 1}]}, "groups: expected 'params' and hyperparameters, got"),
        ({"groups": [{"params": ["0"], "speed": 1}]}, "groups: expected 'params' and"),
        ({"groups": [{"params": ["0"], "lr": -1}]}, "lr: expected a finite number of at least 0"),
        ({"groups": [{"params": ["0"], "nesterov": True}]}, "nesterov: needs a momentum"),
    ],
)
def test_combinations(options, message):
    with pytest.raises(ValueError, match=message):
        SGD(0.1, **options)


@pytest.mark.parametrize("groups", [3, "0", [3], [["0"]], {"params": ["0"]}])
def test_groups_that_are_none(groups):
    with pytest.raises(TypeError, match="groups: expected a list of dictionaries"):
        SGD(0.1, groups=groups)


@pytest.mark.parametrize("params", ["0", 3, None, [3]])
def test_params_that_are_no_names(params):
    with pytest.raises(TypeError, match="groups: expected 'params' to be a list of names"):
        SGD(0.1, groups=[{"params": params}])


NUMBERS = [
    (Adam, ["lr", "eps", "weight_decay"]),
    (AdamW, ["lr", "eps", "weight_decay"]),
    (RMSprop, ["lr", "alpha", "eps", "weight_decay", "momentum"]),
    (Adagrad, ["lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"]),
]


@pytest.mark.parametrize(("kind", "name"), [(k, name) for k, names in NUMBERS for name in names])
def test_numbers_of_the_others(kind, name):
    for value, error in ((-1.0, ValueError), (float("nan"), ValueError), ("a", TypeError)):
        with pytest.raises(error, match=f"{name}: expected a (finite )?number"):
            kind(**{name: value})
        with pytest.raises(error, match=f"{name}: expected a (finite )?number"):
            kind(groups=[{"params": ["0"], name: value}])


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(
    ("betas", "error", "message"),
    [
        (0.9, TypeError, "betas: expected two numbers, got 0.9"),
        ((0.9,), TypeError, r"betas: expected two numbers, got \(0.9,\)"),
        ((0.9, 1.0), ValueError, r"betas\[1\]: expected a number below 1, got 1.0"),
        ((-0.1, 0.9), ValueError, r"betas\[0\]: expected a finite number of at least 0"),
        ((0.9, "a"), TypeError, r"betas\[1\]: expected a number"),
    ],
)
def test_betas(kind, betas, error, message):
    with pytest.raises(error, match=message):
        kind(betas=betas)


def test_an_alpha_above_1():
    with pytest.raises(ValueError, match="alpha: expected a number from 0 to 1"):
        RMSprop(alpha=1.5)


@pytest.mark.parametrize(
    ("kind", "flag"),
    [(SGD, "nesterov"), (SGD, "maximize"), (Adam, "amsgrad"), (RMSprop, "centered")],
)
def test_flags(kind, flag):
    with pytest.raises(TypeError, match=f"{flag}: expected True or False, got 'yes'"):
        kind(**{flag: "yes"})


def test_a_parameter_that_is_not_there():
    import piste

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = SGD(0.1, groups=[{"params": ["1.weight", "7"], "lr": 0.0}])
    with pytest.raises(ValueError, match=r"no parameter '7'; there are \['1.weight', '1.bias'\]"):
        piste.Trainer(model, nn.MSELoss(), optimizer)


@pytest.mark.parametrize(
    ("groups", "by"),
    [
        ([["1"], ["1.bias"]], "'1' and '1.bias'"),
        ([["1.bias"], ["1.bias"]], "'1.bias' and '1.bias'"),
        ([["1.bias", "1.weight", "1.bias"]], "'1.bias' and '1.bias'"),
        ([["1.weight"], ["1.bias"], ["1.bias"]], "'1.bias' and '1.bias'"),
    ],
)
def test_a_parameter_that_is_named_twice(groups, by):
    import piste

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = SGD(0.1, groups=[{"params": names, "lr": 0.2} for names in groups])
    message = f"groups: expected each parameter at most once, got '1.bias' by {by}"
    with pytest.raises(ValueError, match=message):
        piste.Trainer(model, nn.MSELoss(), optimizer)


def test_params_that_are_arrays_are_not_printed():
    layer = nn.Linear(2, 2)
    message = r"'params' to be a list of names, got an array of shape \(2, 2\) and dtype float32"
    with pytest.raises(TypeError, match=f"{message} in it$"):
        SGD(0.1, groups=[{"params": layer.parameters()}])
    with pytest.raises(TypeError, match=f"{message}$"):
        SGD(0.1, groups=[{"params": layer.weight}])


def test_numpy_numbers_are_numbers():
    assert SGD(np.float32(0.5), np.float64(0.9)).lr == 0.5


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad])
@pytest.mark.parametrize(
    "make",
    [
        lambda kind, model: kind(model.parameters(), lr=0.1),
        lambda kind, model: kind(model.parameters()),
        lambda kind, model: kind((p for p in model.parameters()), 0.1),
        lambda kind, model: kind(model.named_parameters(), lr=0.1),
        lambda kind, model: kind([{"params": model.parameters()}], lr=0.1),
        lambda kind, model: kind(params=model.parameters(), lr=0.1),
    ],
)
def test_parameters_are_the_trainers(kind, make):
    message = rf"^{kind.__name__}: expected a learning rate, got .*; the trainer brings the param"
    with pytest.raises(TypeError, match=message):
        make(kind, nn.Linear(2, 2))


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1), AdamW(0.1), RMSprop(), Adagrad()])
def test_misspelt_attributes(optimizer):
    for same in (optimizer, copy.copy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        with pytest.raises(AttributeError, match=r"has no attribute 'lrr', only lr, .*, groups$"):
            same.lrr = 0.2
        same.lr = 0.2
        assert (same.lr, repr(same)) == (0.2, repr(same))


class Named(SGD):
    def __init__(self, names, lr):
        self.names = list(names)
        super().__init__(lr)


def test_subclasses_have_attributes_and_arguments_of_their_own():
    for optimizer in (Named(["a"], 0.1), pickle.loads(pickle.dumps(Named(["a"], 0.1)))):
        optimizer.note = "mine"
        assert (optimizer.names, optimizer.lr, optimizer.note) == (["a"], 0.1, "mine")
