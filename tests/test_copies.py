"""Copies and pickles of models and trainers: of their own, and with the same bits."""

import copy
import pickle

import numpy as np
import piste
import pytest
from piste import nn, optim
from piste.data import Augment
from piste.models import MODELS
from reference.training import IMAGES, LABELS, everything, network, same

WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}
of_each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
OPTIONS = [
    {},
    {"schedule": optim.StepLR(3, 0.5), "average": optim.EMA(0.9), "clip_grad_norm": 1.0},
    {
        "schedule": optim.ReduceLROnPlateau(patience=0, threshold=0.5),
        "average": optim.SWA(1),
        "clip_grad_value": 0.01,
    },
    {"accumulation_steps": 4, "augment": Augment(0.5, 1, mean=0.3, std=0.4)},
]


@of_each_way
def test_a_model_that_has_been_used(way):
    model = network()
    x = IMAGES[:5, None] / np.float32(255)
    model.forward(x)
    expected = model(x)
    twin = way(model)
    np.testing.assert_array_equal(twin(x), expected)
    assert repr(twin) == repr(model)
    with pytest.raises(RuntimeError, match="backward: call forward first"):
        twin.backward(np.ones((5, 10), np.float32))
    twin[0].weight[...] = 0
    assert model[0].weight.any()
    np.testing.assert_array_equal(model(x), expected)
    piste.Trainer(twin, nn.CrossEntropyLoss(), optim.SGD(0.1)).step(x, LABELS[:5])
    assert twin[0].weight.any()  # the copy's network writes to the copy's arrays


@of_each_way
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("optimizer", [optim.SGD(0.05, 0.9), optim.Adam(0.01, amsgrad=True)])
def test_a_trainer_goes_on_with_the_same_bits(way, optimizer, options):
    options = copy.deepcopy(options)  # a plateau keeps count
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    trainer = piste.Trainer(network(), loss, copy.deepcopy(optimizer), seed=5, **options)
    trainer.fit(IMAGES, LABELS, epochs=2, batch_size=19)
    trainer.step(IMAGES[:7], LABELS[:7])
    before = trainer.model.state_dict()
    twin = way(trainer)
    same(everything(twin), everything(trainer))
    for one in (twin, trainer):  # the copy first: the original must not notice
        same(one.model.state_dict(), before)
        one.fit(IMAGES, LABELS, epochs=2, batch_size=19)
    same(everything(twin), everything(trainer))
    assert twin.history.loss == trainer.history.loss
    assert twin.history.lr == trainer.history.lr
    assert (twin.steps, len(twin.history)) == (trainer.steps, 4)
    np.testing.assert_array_equal(twin.predict(IMAGES), trainer.predict(IMAGES))


@of_each_way
@pytest.mark.parametrize("name", MODELS)
def test_any_network(way, name):
    model = MODELS[name]((3, 16, 16), 4)
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    expected = model(x)
    np.testing.assert_array_equal(way(model)(x), expected)


@of_each_way
def test_a_loss_between_its_passes(way):
    loss = nn.CrossEntropyLoss([1, 2, 3])
    loss.forward(np.ones((2, 3)), [0, 1])
    np.testing.assert_array_equal(way(loss).backward(), loss.backward())


def test_what_a_subclass_adds_is_kept():
    class Named(piste.Trainer):
        name = "nobody"

    trainer = Named(network(), nn.CrossEntropyLoss(), optim.SGD(0.1))
    trainer.name = "somebody"
    twin = copy.deepcopy(trainer)
    assert type(twin) is Named
    assert twin.name == "somebody"


def test_a_function_as_schedule_is_copied():
    trainer = piste.Trainer(
        network(), nn.CrossEntropyLoss(), optim.SGD(0.1), schedule=lambda t: 1 / (1 + t)
    )
    trainer.step(IMAGES, LABELS)
    assert set(copy.deepcopy(trainer).learning_rates().values()) == {0.05}


def test_not_while_the_averages_stand_in():
    trainer = piste.Trainer(
        network(), nn.CrossEntropyLoss(), optim.SGD(0.1), average=optim.EMA(0.9)
    )
    trainer.step(IMAGES, LABELS)
    with (
        trainer.averaged_weights(),
        pytest.raises(RuntimeError, match=r"copy: not inside averaged_weights\(\)"),
    ):
        copy.deepcopy(trainer)


def test_steps_have_no_end_that_a_training_reaches(tmp_path):
    trainer = piste.Trainer(nn.Sequential(nn.Linear(3, 1)), nn.MSELoss(), optim.SGD(0.1))
    trainer.steps = 2**31 - 1
    trainer.step(np.ones((2, 3)), np.ones((2, 1)))
    trainer.save(tmp_path / "file")
    for other in (copy.deepcopy(trainer), piste.Trainer.load(tmp_path / "file")):
        assert other.steps == trainer.steps == 2**31
