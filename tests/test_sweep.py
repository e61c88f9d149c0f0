"""Many models at once: the bits of each alone, and copies that diverge."""

import os
import signal
import threading

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (150, 8, 8), dtype=np.uint8), RNG.integers(0, 10, 150)
OPTIMIZERS = [SGD(0.05), SGD(0.05, 0.9), SGD(0.01, 0.8, weight_decay=1e-3), SGD(0.1)]
OPTIONS = {"epochs": 2, "batch_size": 32}


def model(dtype=np.float32):
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, dtype=dtype), nn.BatchNorm2d(6, dtype=dtype), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96, 10, dtype=dtype),
    )  # fmt: skip


def alone(factory, optimizer, seed, x=X, y=Y, **options):
    nn.manual_seed(seed)
    trainer = piste.Trainer(factory(), nn.CrossEntropyLoss(), optimizer, seed=seed)
    trainer.fit(x, y, **options)
    return trainer


def check_same(trainer, expected):
    for name, array in expected.model.state_dict().items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name], array, err_msg=name)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert getattr(trainer.history, name) == getattr(expected.history, name)
    assert trainer.steps == expected.steps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
def test_each_copy_has_the_bits_it_has_alone(threads, dtype):
    """With fewer copies than threads, as many, and some that are left over."""
    seeds = [0, 0, 7, 3]
    options = {**OPTIONS, "validation_data": (X[:50], Y[:50])}
    before = piste.get_num_threads()
    try:
        piste.set_num_threads(threads)
        result = piste.sweep(
            lambda: model(dtype), nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS, seeds=seeds,
            **options,
        )  # fmt: skip
    finally:
        piste.set_num_threads(before)
    assert len(result) == 4
    assert result.errors == [None] * 4
    for trainer, optimizer, seed in zip(result.trainers, OPTIMIZERS, seeds, strict=True):
        check_same(trainer, alone(lambda: model(dtype), optimizer, seed, **options))
    losses = [history.val_loss[-1] for history in result.histories]
    assert losses[result.best()] == min(losses)


def test_slices_change_no_bit(monkeypatch):
    """Copies that take turns after every step."""
    monkeypatch.setattr("piste._sweep._SLICE_SECONDS", 0.0)
    result = piste.sweep(model, nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS, **OPTIONS)
    for trainer, optimizer in zip(result.trainers, OPTIMIZERS, strict=True):
        check_same(trainer, alone(model, optimizer, 0, **OPTIONS))


def test_options_are_those_of_fit():
    options = {
        "epochs": 1, "batch_size": "full", "shuffle": False, "layout": "NHWC",
        "sample_weight": np.linspace(0, 1, 150),
    }  # fmt: skip
    x = X[..., None]
    result = piste.sweep(model, nn.CrossEntropyLoss(), x, Y, optimizers=OPTIMIZERS[:2], **options)
    for trainer, optimizer in zip(result.trainers, OPTIMIZERS, strict=False):
        check_same(trainer, alone(model, optimizer, 0, x=x, **options))


def test_copies_go_on_training_and_predicting():
    result = piste.sweep(model, nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS, **OPTIONS)
    expected = alone(model, OPTIMIZERS[1], 0, **OPTIONS)
    for trainer in (result.trainers[1], expected):
        trainer.fit(X, Y, **OPTIONS)
    check_same(result.trainers[1], expected)
    np.testing.assert_array_equal(result.trainers[1].predict(X), expected.predict(X))


def test_models_may_differ():
    widths = iter([4, 9])

    def factory():
        width = next(widths)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))

    result = piste.sweep(factory, nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS[:2])
    assert [t.model[1].weight.shape[0] for t in result.trainers] == [4, 9]


def test_the_generator_of_weights_is_left_alone():
    nn.manual_seed(5)
    expected = nn.Linear(3, 3).weight
    nn.manual_seed(5)
    piste.sweep(model, nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS[:1], seeds=9)
    np.testing.assert_array_equal(nn.Linear(3, 3).weight, expected)


def test_a_diverging_copy_is_dropped_and_reported():
    def factory():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 1, dtype=np.float64))

    x, y = RNG.standard_normal((150, 8, 8)), np.ones((150, 1))
    optimizers = [SGD(1e-4), SGD(10.0), SGD(1e-3), SGD(1e3)]
    result = piste.sweep(
        factory, nn.LeastSquaresLoss(), x, y, optimizers=optimizers, epochs=12, batch_size=10
    )
    assert [error is None for error in result.errors] == [True, False, True, False]
    for i, optimizer in enumerate(optimizers):
        nn.manual_seed(0)
        trainer = piste.Trainer(factory(), nn.LeastSquaresLoss(), optimizer)
        error = result.errors[i]
        if error is None:
            trainer.fit(x, y, epochs=12, batch_size=10)
        else:
            with pytest.raises(piste.DivergenceError) as caught:
                trainer.fit(x, y, epochs=12, batch_size=10)
            assert str(error) == str(caught.value)
            assert error.lr == optimizer.lr
        check_same(result.trainers[i], trainer)
        assert all(np.isfinite(a).all() for a in result.trainers[i].model.parameters())
    assert result.best() == 2


def test_all_copies_may_diverge():
    result = piste.sweep(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), nn.LeastSquaresLoss(),
        X.astype(np.float32), np.ones((150, 1), np.float32), optimizers=[SGD(1e6)], epochs=50,
    )  # fmt: skip
    assert result.errors[0] is not None
    with pytest.raises(ValueError, match="sweep: no copy has finished an epoch without diverging"):
        result.best()


def test_bad_data_end_the_sweep_before_anything_is_trained():
    made = []

    def factory():
        made.append(model())
        return made[-1]

    before = None
    for x, y, error in (
        (X, Y[:-1], ValueError),
        (X, Y + 0.5, TypeError),
        (X[:0], Y[:0], ValueError),
    ):
        with pytest.raises(error, match=r"^[xy]: "):
            piste.sweep(factory, nn.CrossEntropyLoss(), x, y, optimizers=OPTIMIZERS)
        state = made[-1].state_dict()
        before = before or state
        for name, array in state.items():
            np.testing.assert_array_equal(array, before[name])


def test_nan_in_the_data_is_named():
    x = X.astype(np.float32)
    x[17, 3, 3] = np.nan
    with pytest.raises(ValueError, match="x: sample 17 holds NaN or infinity"):
        piste.sweep(model, nn.CrossEntropyLoss(), x, Y, optimizers=OPTIMIZERS)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_leaves_whole_steps():
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    made = []

    def factory():
        made.append(model())
        return made[-1]

    timer = threading.Timer(0.4, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        piste.sweep(
            factory, nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS, epochs=10**6, batch_size=8
        )
    timer.join()
    for copy in made:
        assert all(np.isfinite(array).all() for array in copy.state_dict().values())
        assert copy(X).shape == (150, 10)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"model_factory": model()},
            TypeError,
            "model_factory: expected a function, got Sequential$",
        ),
        ({"model_factory": lambda: 3}, TypeError, "model: expected a piste Module, got int"),
        ({"loss": "mse"}, TypeError, "loss: expected a piste Loss, got str"),
        ({"optimizers": SGD(0.1)}, TypeError, "optimizers: expected a list of them, got SGD"),
        ({"optimizers": []}, ValueError, "optimizers: expected at least one, got none"),
        ({"optimizers": [0.1]}, TypeError, "optimizer: expected a piste Optimizer, got float"),
        ({"seeds": [1]}, ValueError, "seeds: expected one or 4, as many as optimizers, got 1"),
        ({"seeds": 1.5}, TypeError, "seeds: expected an integer, got float 1.5"),
        ({"seeds": [0, 1, 2, -1]}, ValueError, "seeds: expected an integer from 0 to"),
        ({"seeds": np.ones(4)}, TypeError, "seeds: expected an integer, got float 1.0"),
        ({"epochs": -1}, ValueError, "epochs: expected an integer from 0 to"),
        ({"layout": "CHW"}, ValueError, "layout: expected 'NCHW' or 'NHWC', got 'CHW'"),
    ],
)
def test_errors(change, error, message):
    arguments = {
        "model_factory": model, "loss": nn.CrossEntropyLoss(), "x": X, "y": Y,
        "optimizers": OPTIMIZERS,
    }  # fmt: skip
    with pytest.raises(error, match=message):
        piste.sweep(**{**arguments, **change})


def test_a_factory_that_gives_one_model_twice():
    one = model()
    with pytest.raises(ValueError, match="model_factory: expected a new model from each call"):
        piste.sweep(lambda: one, nn.CrossEntropyLoss(), X, Y, optimizers=OPTIMIZERS)


def test_a_factory_whose_models_share_layers():
    shared = nn.BatchNorm2d(1, affine=False)
    message = "model_factory: expected new layers from each call, got models that share weights"
    for factory in (lambda: nn.Sequential(shared, model()), lambda: nn.Sequential(shared)):
        with pytest.raises(ValueError, match=message):
            piste.sweep(factory, nn.MSELoss(), X, X, optimizers=OPTIMIZERS)


def test_seeds_may_be_an_array():
    options = {"optimizers": OPTIMIZERS[:2], "epochs": 1}
    one, other = (
        piste.sweep(model, nn.CrossEntropyLoss(), X, Y, seeds=seeds, **options)
        for seeds in ([3, 4], np.array([3, 4]))
    )
    assert [h.loss for h in one.histories] == [h.loss for h in other.histories]
