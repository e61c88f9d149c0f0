"""Parameters' memory is the engine's too and stays where it is; read-only arrays are kept so."""

import copy
import pickle
import sys

import numpy as np
import piste
import pytest
from piste import nn, optim

X = np.random.default_rng(0).standard_normal((6, 1, 5, 5)).astype(np.float32)
Y = np.arange(6) % 3


def network():
    nn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(36, 3)
    )


def trainer_of(model, optimizer=None, **options):
    optimizer = optimizer or optim.SGD(0.1, momentum=0.9)
    return piste.Trainer(model, nn.CrossEntropyLoss(), optimizer, **options)


@pytest.mark.parametrize(
    "way", [lambda m: m, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_parameters_cannot_be_resized(way):
    model, plain = way(network()), network()
    trainer = trainer_of(model)
    trainer.step(X, Y)
    for _, array in model._named_state():
        while isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="cannot resize this array: it does not own its"):
                array.resize(10**6, refcheck=False)
            array = array.base
    expected = trainer_of(plain)
    expected.step(X, Y)
    assert trainer.step(X, Y) == expected.step(X, Y)


def test_a_shallow_copy_shares_its_parameters():
    model = network()
    twin = copy.copy(model)
    assert all(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_parameters_are_aligned_for_vectors():
    addresses = [a.__array_interface__["data"][0] for _, a in network()._named_state()]
    assert all(address % 64 == 0 for address in addresses)


@pytest.mark.parametrize("name", ["0.weight", "1.bias", "1.running_var", "4.bias"])
@pytest.mark.parametrize("used", [False, True])
def test_read_only_arrays_are_predicted_with_and_not_trained(name, used):
    model = network()
    trainer = trainer_of(model)
    if used:
        trainer.step(X, Y)
    expected = copy.deepcopy(model)(X)
    array = dict(model._named_state())[name]
    array.flags.writeable = False
    np.testing.assert_array_equal(trainer.predict(X), expected)
    before, steps = model.state_dict(), trainer.steps
    message = f"^{name}: the array is read-only; to freeze it, put it into an .* group with lr=0$"
    for train in (trainer.step, trainer.fit):
        with pytest.raises(ValueError, match=message):
            train(X, Y)
    with pytest.raises(ValueError, match=f"^{name}: the array is read-only; nothing has been"):
        model.load_state_dict({key: np.ones_like(value) for key, value in before.items()})
    after = model.state_dict()
    assert all((before[key] == after[key]).all() for key in before)
    assert trainer.steps == steps
    array.flags.writeable = True
    trainer.step(X, Y)


@pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
@pytest.mark.parametrize("alone", [False, True])
def test_read_only_statistics_are_not_updated_by_hand_either(name, alone):
    model, x = network(), X
    if alone:
        model, x = model[1], model[0](X)
    full = name if alone else f"1.{name}"
    array = dict(model._named_state())[full]
    before, expected = model.state_dict(), model(x)
    array.flags.writeable = False
    with pytest.raises(ValueError, match=f"^{full}: the array is read-only; eval.. leaves"):
        model.forward(x)
    np.testing.assert_array_equal(model.eval().forward(x), expected)
    np.testing.assert_array_equal(model(x), expected)
    assert all((array == before[key]).all() for key, array in model.state_dict().items())
    array.flags.writeable = True
    model.train().forward(x)
    assert (array != before[full]).any()


@pytest.mark.parametrize("mode", [False, True])
def test_read_only_parameters_go_forward_and_backward_by_hand(mode):
    model, twin = network().train(mode), network().train(mode)
    for array in model.parameters():
        array.flags.writeable = False
    y = model.forward(X)
    np.testing.assert_array_equal(y, twin.forward(X))
    np.testing.assert_array_equal(model.backward(y), twin.backward(y))


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: optim.SGD(0.1, momentum=0.9, weight_decay=0.1, **o),
        lambda **o: optim.AdamW(0.1, weight_decay=0.1, **o),
        lambda **o: optim.RMSprop(0.1, momentum=0.5, weight_decay=0.1, **o),
        lambda **o: optim.Adagrad(0.1, weight_decay=0.1, **o),
    ],
)
@pytest.mark.parametrize(
    "schedule",
    [None, optim.OneCycleLR(0.1, 20, cycle_momentum=False), optim.StepLR(2, 0.5)],
)
def test_a_learning_rate_of_0_freezes(make, schedule):
    model = network()
    before = model.state_dict()
    groups = [{"params": ["0", "1.bias"], "lr": 0}]
    trainer_of(model, make(groups=groups), schedule=schedule).fit(X, Y, epochs=3, batch_size=2)
    frozen = {"0.weight", "0.bias", "1.bias"}
    same = {k for k, v in model.state_dict().items() if (v == before[k]).all()}
    assert same == frozen


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_learning_rate_of_0_freezes_linear_models(batch_size):
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 3))
    before = model.state_dict()
    optimizer = optim.SGD(0.1, groups=[{"params": ["1.weight"], "lr": 0}])
    trainer_of(model, optimizer).fit(X, Y, epochs=3, batch_size=batch_size)
    assert (model[1].weight == before["1.weight"]).all()
    assert (model[1].bias != before["1.bias"]).all()


def nested(depth):
    model = nn.Linear(4, 3)
    for _ in range(depth):
        model = nn.Sequential(model)
    return model


def test_modules_nested_too_deeply():
    model = nested(5000)
    assert [array.shape for array in model.parameters()] == [(3, 4), (3,)]
    message = (
        r"^Sequential: modules are nested more deeply than Python's limit, sys.getrec.*\(\) = "
    )
    for use in (trainer_of, lambda model: model(np.ones((2, 4))), lambda model: model.summary([4])):
        with pytest.raises(ValueError, match=message):
            use(model)


def test_modules_nested_deeply_are_shown_down_to_some_depth():
    lines = repr(nested(5000)).splitlines()
    assert lines[:2] == ["Sequential(", "  (0): Sequential("]
    assert lines[100] == " " * 200 + "(0): Sequential(... 4900 modules, nested deeper)"
    assert lines[101:] == [" " * 2 * depth + ")" for depth in reversed(range(100))]
    inner = repr(nested(100)).splitlines()[100]
    assert inner == " " * 200 + "(0): Linear(in_features=4, out_features=3, bias=True)"


def test_modules_may_show_themselves_otherwise():
    class Own(nn.Sequential):
        def __repr__(self):
            return f"Own of\n{super().__repr__()}"

    expected = "Own of\nOwn(\n  (0): ReLU()\n)"
    assert repr(Own(nn.ReLU())) == expected
    within = expected.replace("\n", "\n  ")
    assert repr(nn.Sequential(Own(nn.ReLU()), nn.Tanh())) == (
        f"Sequential(\n  (0): {within}\n  (1): Tanh()\n)"
    )


def test_deeply_nested_modules_within_the_limit():
    model = nested(2000)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10000)
    try:
        assert model(np.ones((2, 4))).shape == (2, 3)
    finally:
        sys.setrecursionlimit(before)
    assert next(iter(model.state_dict())) == "0." * 2000 + "weight"
