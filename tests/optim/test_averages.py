"""Averages of weights and running statistics."""

import copy

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import EMA, SGD, SWA
from reference.training import IMAGES, LABELS, network, same


def make(average, **options):
    loss = nn.CrossEntropyLoss()
    return piste.Trainer(network(), loss, SGD(0.05, 0.9), average=average, **options)


def floats(trainer):
    state = trainer.model.state_dict()
    return {name: array for name, array in state.items() if array.dtype.kind == "f"}


def averaged(trainer):
    with trainer.averaged_weights():
        return floats(trainer)


def close(got, expected):
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("start", [0, 3])
def test_exponential(start):
    trainer = make(EMA(0.7, start))
    mean = None
    for step in range(12):
        trainer.step(IMAGES[:20], LABELS[:20])
        now = floats(trainer)
        if step >= start:
            mean = now if mean is None else {k: 0.7 * mean[k] + 0.3 * now[k] for k in now}
    close(averaged(trainer), mean)
    same(floats(trainer), now)


def test_the_mean_after_updates():
    trainer = make(SWA(2, 3, "step"), accumulation_steps=2)
    seen = []
    for step in range(24):
        trainer.step(IMAGES[:20], LABELS[:20])
        if step % 2 and (step + 1) // 2 in (5, 8, 11):
            seen.append(floats(trainer))
    close(averaged(trainer), {k: np.mean([s[k] for s in seen], axis=0) for k in seen[0]})


def test_the_mean_after_epochs():
    trainer, seen = make(SWA(start=1, every=2)), []
    trainer.fit(IMAGES, LABELS, epochs=6, batch_size=20,
                callbacks=[lambda t, _: seen.append(floats(t))])  # fmt: skip
    seen = [seen[2], seen[4]]
    close(averaged(trainer), {k: (seen[0][k] + seen[1][k]) / 2 for k in seen[0]})


def test_inside_the_model_is_the_average_and_cannot_train(tmp_path):
    trainer = make(EMA(0.9))
    trainer.fit(IMAGES, LABELS, batch_size=20)
    own, before = trainer.evaluate(IMAGES, LABELS), floats(trainer)
    twin = network()
    with trainer.averaged_weights():
        twin.load_state_dict(trainer.model.state_dict())
        np.testing.assert_array_equal(twin(IMAGES), trainer.predict(IMAGES))
        assert trainer.evaluate(IMAGES, LABELS) != own
        for call in (
            lambda: trainer.step(IMAGES, LABELS),
            lambda: trainer.fit(IMAGES, LABELS),
            lambda: trainer.save(tmp_path / "w"),
            lambda: trainer.averaged_weights().__enter__(),
        ):
            with pytest.raises(RuntimeError, match=r"averaged_weights"):
                call()
    assert trainer.evaluate(IMAGES, LABELS) == own
    same(floats(trainer), before)


def averaging_and_other():
    """Three trainers of one model: one that averages, one of all of it, one of a part."""
    trainer = make(EMA(0.9))
    for _ in range(2):
        trainer.step(IMAGES, LABELS)
    model = trainer.model
    part = nn.Sequential(model[0], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    other = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.1), average=EMA(0.5))
    return trainer, other, piste.Trainer(part, nn.CrossEntropyLoss(), SGD(0.1))


def test_inside_nobody_else_trains_the_model_or_loads_weights():
    trainer, other, part = averaging_and_other()
    other.step(IMAGES, LABELS)
    own, expected = floats(trainer), averaged(trainer)
    weights = {name: np.zeros_like(a) for name, a in trainer.model.state_dict().items()}
    with trainer.averaged_weights():
        for call in (
            lambda: other.step(IMAGES, LABELS),
            lambda: other.fit(IMAGES, LABELS),
            lambda: part.step(IMAGES, LABELS % 6),
            lambda: copy.copy(trainer.model).load_state_dict(weights),
            lambda: trainer.model.load_state_dict(weights),
            lambda: trainer.model[1].load_state_dict(trainer.model[1].state_dict()),
            lambda: other.averaged_weights().__enter__(),
        ):
            with pytest.raises(RuntimeError, match=r"^averaged_weights: "):
                call()
        same(floats(trainer), expected)
    assert (other.steps, part.steps) == (1, 0)
    same(floats(trainer), own)


def test_inside_another_trainer_evaluates_and_saves_averages(tmp_path):
    trainer, other, _ = averaging_and_other()
    expected = averaged(trainer)
    with trainer.averaged_weights():
        np.testing.assert_array_equal(other.predict(IMAGES), trainer.predict(IMAGES))
        assert other.evaluate(IMAGES, LABELS) == trainer.evaluate(IMAGES, LABELS)
        other.save(tmp_path / "w")
        twin = copy.deepcopy(trainer.model)
        twin.load_state_dict(twin.state_dict())
        piste.Trainer(twin, nn.CrossEntropyLoss(), SGD(0.1)).step(IMAGES, LABELS)
    same(floats(piste.Trainer.load(tmp_path / "w")), expected)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_afterwards_the_model_is_anybodys_again(error):
    trainer, other, part = averaging_and_other()
    with pytest.raises(error), trainer.averaged_weights():
        raise error
    other.step(IMAGES, LABELS)
    part.step(IMAGES, LABELS % 6)
    trainer.model.load_state_dict(trainer.model.state_dict())
    trainer.step(IMAGES, LABELS)


@pytest.mark.parametrize("name", ["0.weight", "8.bias", "1.running_var"])
def test_read_only_arrays_do_not_take_averages(name):
    trainer, _, _ = averaging_and_other()
    own, expected = floats(trainer), averaged(trainer)
    array = dict(trainer.model._named_state())[name]
    array.flags.writeable = False
    with pytest.raises(ValueError, match=f"^{name}: the array is read-only; averages cannot"):
        trainer.averaged_weights().__enter__()
    same(floats(trainer), own)
    array.flags.writeable = True
    same(averaged(trainer), expected)


def test_an_exception_inside_brings_the_weights_back():
    trainer = make(EMA(0.9))
    trainer.step(IMAGES, LABELS)
    trainer.step(IMAGES, LABELS)
    before = floats(trainer)
    with pytest.raises(KeyError), trainer.averaged_weights():
        raise KeyError
    same(floats(trainer), before)


def test_there_must_be_an_average():
    with pytest.raises(RuntimeError, match="averaged_weights: called without average="):
        make(None).averaged_weights().__enter__()
    with pytest.raises(RuntimeError, match="averaged_weights: called before the first average"):
        make(SWA()).averaged_weights().__enter__()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: EMA(1.0), ValueError, "decay: expected a number below 1, got 1.0"),
        (lambda: EMA(-0.1), ValueError, "decay: expected a finite number of at least 0"),
        (lambda: EMA(0.9, -1), ValueError, "start: expected an integer from 0"),
        (lambda: SWA(every=0), ValueError, "every: expected an integer from 1"),
        (lambda: SWA(interval="week"), ValueError, "interval: expected 'step' or 'epoch', got"),
        (lambda: make(3), TypeError, "average: expected a piste EMA or SWA, got int 3"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_they_show_their_arguments():
    assert repr(EMA(0.5)) == "EMA(decay=0.5, start=0)"
    assert repr(SWA(3)) == "SWA(start=3, every=1, interval='epoch')"


@pytest.mark.parametrize("average", [EMA(0.5), SWA(3), copy.deepcopy(SWA(3))])
def test_what_a_trainer_has_read_is_not_changed_afterwards(average):
    before = repr(average)
    for name in vars(average):
        with pytest.raises(AttributeError, match=f"^{name}: cannot be changed; make another "):
            setattr(average, name, 1)
    assert repr(average) == before


def test_weights_that_become_read_only_inside_come_back_all_the_same():
    model = nn.Sequential(nn.Linear(3, 1))
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.1), average=EMA(0.5))
    for _ in range(3):
        trainer.step(np.ones((2, 3)), np.ones((2, 1)))
    before = model.state_dict()
    with trainer.averaged_weights():
        assert not np.array_equal(model[0].weight, before["0.weight"])
        model[0].weight.flags.writeable = False
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    model[0].weight.flags.writeable = True
    copy.deepcopy(trainer).step(np.ones((2, 3)), np.ones((2, 1)))


def test_averages_change_places_once_whatever_is_asked_for_again():
    model = nn.Sequential(nn.Linear(3, 1))
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.1), average=EMA(0.5))
    for _ in range(3):
        trainer.step(np.ones((2, 3)), np.ones((2, 1)))
    weight, core = model[0].weight.copy(), trainer._state.core
    core.put_averages(False)
    np.testing.assert_array_equal(model[0].weight, weight)
    core.put_averages(True)
    averaged = model[0].weight.copy()
    assert core.averages_in_place
    assert not np.array_equal(averaged, weight)
    core.put_averages(True)
    np.testing.assert_array_equal(model[0].weight, averaged)
    core.put_averages(False)
    np.testing.assert_array_equal(model[0].weight, weight)
