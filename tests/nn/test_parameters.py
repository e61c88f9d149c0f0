"""Parameters' memory is the engine's too and stays where it is; read-only arrays are kept so."""

import copy
import pickle

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


