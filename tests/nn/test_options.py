"""Options of layers that are set after they were made: as if they had been made with them."""

import contextlib
import copy
import inspect
import json
import pickle
import threading

import numpy as np
import piste
import pytest
from piste import nn, optim, serialize
from reference.layer_cases import CASES
from reference.training import IMAGES, LABELS, everything, network, same

LAYERS = [
    name
    for name in nn.__all__
    if isinstance(getattr(nn, name), type)
    and issubclass(getattr(nn, name), nn.Module)
    and name not in ("Module", "Sequential", "Concat", "Residual")
]
CHANGES = [
    (name, option, value)
    for name, (_, _, options) in CASES.items()
    for option, values in options.items()
    for value in values
]
# With indices a layer has two outputs: see the test of its own.
SETTABLE = [
    case for case in CHANGES if case[1] not in (*getattr(nn, case[0])._fixed, "return_indices")
]
FIXED = [case for case in CHANGES if case[1] in getattr(nn, case[0])._fixed]
of_each = pytest.mark.parametrize(("name", "option", "value"), SETTABLE)


def make(name, **options):
    """A layer of the seed's weights, with statistics and weights other than 0 and 1."""
    nn.manual_seed(0)
    layer = getattr(nn, name)(**{**CASES[name][0], **options})
    rng = np.random.default_rng(1)
    for key, array in layer._named_state():
        if array.dtype.kind == "f" and "Norm" in name:
            array[...] = rng.uniform(0.5, 1.5, array.shape)
        assert "num_batches" in key or array.any()
    return layer


def input_of(name, dtype=np.float32):
    return np.random.default_rng(2).standard_normal(CASES[name][1]).astype(dtype)


def passes(layer, x):
    """All that a layer gives by hand."""
    outputs = []
    for mode in (True, False):
        y = layer.train(mode).forward(x)
        grad = np.random.default_rng(3).standard_normal(y.shape).astype(x.dtype)
        outputs += [y, layer.backward(grad), *layer.gradients().values()]
    layer.train()
    return [*outputs, layer(x), *layer.state_dict().values()]


def equal(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_layer_and_no_option_is_forgotten():
    assert sorted(LAYERS) == sorted(CASES)
    for name in LAYERS:
        kind = getattr(nn, name)
        parameters = inspect.signature(kind).parameters.values()
        # An array, or what arrays are made of: there is no attribute to set.
        names = {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL} - {
            "bias",
            "dtype",
            "kwargs",
        }
        assert names == set(CASES[name][2]), name
        assert names == set(kind(**CASES[name][0])._options), name
        assert names >= set(kind._fixed), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("used", [False, True])
@of_each
def test_a_layer_by_hand(name, option, value, used, dtype):
    kind = {"dtype": dtype} if list(make(name)._named_state()) else {}
    layer, x = make(name, **kind), input_of(name, dtype)
    if used:
        passes(layer, x)
    setattr(layer, option, value)
    fresh = make(name, **{option: value}, **kind)
    fresh.load_state_dict(layer.state_dict())
    fresh._network()._calls.steps = layer._network()._calls.steps  # dropout draws by them
    assert repr(layer) == repr(fresh)
    assert serialize.describe(layer) == serialize.describe(fresh)
    assert getattr(layer, option) == getattr(fresh, option)
    copies = [copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    copies.append(serialize.build(json.loads(json.dumps(serialize.describe(layer)))))
    copies[-1].load_state_dict(layer.state_dict())
    expected = fresh(x)
    equal(passes(layer, x), passes(fresh, x))
    for twin in copies[1:]:  # before its arrays, which the shallow one shares, went on
        equal(twin(x), expected)
        assert repr(twin) == repr(layer)
    equal(copies[0](x), layer(x))


@of_each
def test_in_a_trainer_and_deep_inside_a_network(name, option, value):
    x = input_of(name)
    make_trainer = lambda layer: piste.Trainer(  # noqa: E731
        nn.Sequential(nn.PReLU(), nn.Concat(nn.Sequential(nn.Sequential(layer)))),
        nn.MSELoss(),
        optim.Adam(0.01),
        seed=3,
        accumulation_steps=2,
        average=optim.EMA(0.5),
    )
    targets = lambda trainer: np.cos(np.arange(trainer.predict(x).size)).reshape(  # noqa: E731
        trainer.predict(x).shape
    )
    layer = make(name)
    trainer = make_trainer(layer)
    for _ in range(3):  # the last is waiting for another
        trainer.step(x, targets(trainer))
    fresh = make_trainer(make(name, **{option: value}))
    setattr(layer, option, value)
    fresh.model.load_state_dict(trainer.model.state_dict())
    fresh._state.restore(trainer._state.counters, trainer._state.arrays())
    fresh.steps = trainer.steps
    y = targets(fresh)
    assert str(trainer.plan(x.shape)) == str(fresh.plan(x.shape)) if x.ndim in (2, 4) else True
    assert trainer.evaluate(x, y) == fresh.evaluate(x, y)
    losses = [[one.step(x, y) for _ in range(4)] for one in (trainer, fresh)]
    assert losses[0] == losses[1]
    same(everything(trainer), everything(fresh))
    np.testing.assert_array_equal(trainer.predict(x), fresh.predict(x))
    np.testing.assert_array_equal(trainer.model(x), fresh.model(x))
    for one in (trainer, fresh):
        with one.averaged_weights():
            losses.append(one.evaluate(x, y))
    assert losses[2] == losses[3]


@pytest.mark.parametrize(("name", "option", "value"), FIXED)
def test_what_the_arrays_were_made_by_stays(name, option, value):
    layer, x = make(name), input_of(name)
    shapes = [{key: array.shape for key, array in one._named_state()}
              for one in (layer, make(name, **{option: value}))]  # fmt: skip
    assert shapes[0] != shapes[1] or option == "init"
    before, kept = layer(x), getattr(layer, option)
    with pytest.raises(ValueError, match=rf"^{option}: expected .*, with which the layer's arrays"):
        setattr(layer, option, value)
    setattr(layer, option, kept)
    setattr(layer, option, CASES[name][0].get(option, kept))  # as given
    np.testing.assert_array_equal(layer(x), before)


@pytest.mark.parametrize(
    "bad", ["?", None, object(), -(10**12), -1, 0, 7.5, 10**12, float("nan"), [1] * 9, True]
)
@pytest.mark.parametrize(("name", "option"), sorted({case[:2] for case in CHANGES}))
def test_values_are_checked_as_those_of_the_constructor(name, option, bad):
    layer, x = make(name), input_of(name)
    try:
        getattr(nn, name)(**{**CASES[name][0], option: bad})
    except (TypeError, ValueError) as error:
        expected = error
    else:
        return  # a good one here
    before, lowered, kept = layer(x), layer._network(), dict(vars(layer))
    with pytest.raises(type(expected)) as raised:
        setattr(layer, option, bad)
    assert str(raised.value) == str(expected)
    assert vars(layer) == kept
    assert layer._network() is lowered
    np.testing.assert_array_equal(layer(x), before)


@of_each
def test_backward_belongs_to_the_options_of_forward(name, option, value):
    layer, x = make(name), input_of(name)
    y = layer.forward(x)
    gradients = layer.gradients()
    layer.backward(np.ones_like(y))
    expected = {key: array.copy() for key, array in gradients.items()}
    setattr(layer, option, getattr(layer, option))  # the same
    layer.backward(np.ones_like(y))
    setattr(layer, option, value)
    with pytest.raises(RuntimeError, match=r"^backward: call forward first"):
        layer.backward(np.ones_like(y))
    same(layer.gradients(), expected)  # still those of the last backward


def test_one_sample_between_its_passes():
    layer = nn.Conv2d(2, 3, 3)
    y = layer.forward(np.ones((2, 5, 5), np.float32))
    layer.stride = 2
    with pytest.raises(RuntimeError, match=r"^backward: call forward first"):
        layer.backward(y)
    assert layer.forward(np.ones((2, 5, 5), np.float32)).shape == (3, 2, 2)


def test_a_network_is_lowered_anew_only_where_something_has_changed():
    model, other = network(), network()
    networks = model._network(), other._network(), model[0]._network()
    model[0].padding = (1, 1)
    model[1].eps = 1e-5
    model[4].p = 0.2
    model[4].note = {"of": "the user's"}
    assert (model._network(), other._network(), model[0]._network()) == networks
    model[4].p = 0.3
    assert model._network() is not networks[0]
    assert (other._network(), model[0]._network()) == networks[1:]
    assert model._network() is model._network()
    assert model[4].note == {"of": "the user's"}


def test_lists_are_not_shared():
    sizes, padding = [2, 2], [[0, 1], [1, 0]]
    pool, conv = nn.MaxPool2d(sizes), nn.Conv2d(1, 1, 3, padding=padding)
    sizes[0] = padding[0][0] = 5
    assert (pool.kernel_size, pool.stride) == ((2, 2), (2, 2))
    assert conv.padding == ((0, 1), (1, 0))


def test_a_rate_that_is_annealed_in_training():
    def halve(trainer, history):
        trainer.model[4].p /= 2

    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(), optim.SGD(0.05, 0.9), seed=5)
    held_out = (IMAGES[:9], LABELS[:9])
    trainer.fit(
        IMAGES, LABELS, epochs=3, batch_size=19, callbacks=[halve], validation_data=held_out
    )
    expected = piste.Trainer(network(), nn.CrossEntropyLoss(), optim.SGD(0.05, 0.9), seed=5)
    for p in (0.2, 0.1, 0.05):
        expected.model[4].p = p
        expected.fit(IMAGES, LABELS, batch_size=19, validation_data=held_out)
    assert trainer.history.loss == expected.history.loss
    assert trainer.history.val_loss == expected.history.val_loss
    same(everything(trainer), everything(expected))
    assert trainer.steps == expected.steps


def test_draws_go_on_with_the_calls():
    x = np.ones((4, 50), np.float32)
    layer, plain = nn.Dropout(0.5), nn.Dropout(0.5)
    for i in range(4):
        layer.p = 0.5
        np.testing.assert_array_equal(layer.forward(x), plain.forward(x))
        layer.p = 0.1 * i
        layer(x)


def test_a_trainer_in_files_and_copies(tmp_path):
    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(), optim.Adam(0.01), seed=5)
    trainer.step(IMAGES, LABELS)
    trainer.model[4].p, trainer.model[1].momentum = 0.6, None
    trainer.save(tmp_path / "trainer")
    twins = [copy.deepcopy(trainer), piste.Trainer.load(tmp_path / "trainer")]
    loss = trainer.step(IMAGES, LABELS)
    for twin in twins:
        assert twin.step(IMAGES, LABELS) == loss
        same(everything(twin), everything(trainer))


@pytest.mark.parametrize("labels", [False, True])
def test_outputs_keep_their_shape_while_fit_runs(labels):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    loss = nn.CrossEntropyLoss() if labels else nn.MSELoss()
    trainer = piste.Trainer(model, loss, optim.SGD(0.01))
    x = IMAGES[:, None] / np.float32(255)
    y = np.arange(90) % 16 if labels else np.ones((90, 16), np.float32)

    def shrink(trainer, history):
        trainer.model[1].output_size = 1

    with pytest.raises(ValueError, match=r"^y: expected outputs of shape \(90, 16\) .* \(90, 4\)"):
        trainer.fit(x, y, epochs=2, callbacks=[shrink])
    assert trainer.steps == 2
    trainer.fit(x, y % 4 if labels else y[:, :4])
    with pytest.raises(ValueError, match=r"^y: "):
        trainer.step(x, y)


def test_a_step_that_went_too_far_is_taken_back_all_the_same():
    def diverge(change, seed=0):
        nn.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 1))
        trainer = piste.Trainer(model, nn.MSELoss(), optim.SGD(1e15))
        x, y = np.random.default_rng(0).standard_normal((2, 8, 6)).astype(np.float32)
        before = model.state_dict()
        trainer.step(x, y[:, :1])
        if change:
            model[1].negative_slope = 0.2
        with pytest.raises(piste.DivergenceError):
            trainer.step(x, y[:, :1])
        return trainer, before

    for change in (False, True):
        trainer, before = diverge(change)
        same(trainer.model.state_dict(), before)
        assert trainer.steps == 0


def test_no_trainer_takes_back_the_steps_of_another():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 1))
    x, y = np.random.default_rng(0).standard_normal((2, 8, 6)).astype(np.float32)
    piste.Trainer(model, nn.MSELoss(), optim.SGD(1e15, 0.9)).step(x, y[:, :1])
    before = model.state_dict()
    trainer = piste.Trainer(model, nn.MSELoss(), optim.SGD(1e15))
    with pytest.raises(piste.DivergenceError):
        trainer.step(x, y[:, :1])
    assert trainer.steps == 0
    same(model.state_dict(), before)


def test_pools_with_indices_have_one_output_again():
    pool = nn.MaxPool2d(2, return_indices=True)
    x = input_of("MaxPool2d")
    y, indices = pool.forward(x)
    pool.kernel_size = 3
    assert not np.array_equal(pool(x)[1], indices)
    pool.return_indices = False
    with pytest.raises(RuntimeError, match=r"^backward: call forward first"):
        pool.backward(y)
    model = nn.Sequential(pool)
    assert model(x).shape == pool(x).shape
    pool.return_indices = True
    with pytest.raises(ValueError, match=r"^0: return_indices"):
        model(x)
    pool.return_indices = False
    np.testing.assert_array_equal(model(x), pool(x))


def test_constructors_take_their_own_options_only():
    for name in LAYERS:
        with pytest.raises(TypeError) if name != "Identity" else contextlib.nullcontext():
            getattr(nn, name)(**CASES[name][0], unknown=1)


def test_classes_of_others_with_constructors_of_their_own():
    class Often(nn.Dropout):
        def __init__(self, name):
            super().__init__(0.9)
            self.name = name

    layer = Often("nobody")
    layer.name = "somebody"
    with pytest.raises(ValueError, match=r"^p: expected a probability from 0 to 1, got 2"):
        layer.p = 2
    layer.p = 0
    np.testing.assert_array_equal(layer.forward(np.ones((2, 3))), np.ones((2, 3)))
    assert (layer.name, copy.deepcopy(layer).name) == ("somebody", "somebody")


def test_changes_by_other_threads():
    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(), optim.SGD(0.01))
    stop = threading.Event()

    def change(layer, option, values):
        for i in range(10**9):
            if stop.is_set():
                return
            setattr(layer, option, values[i % len(values)])

    model = trainer.model
    threads = [
        threading.Thread(target=change, args=(model[4], "p", (0.1, 0.5, 0))),
        threading.Thread(target=change, args=(model[1], "momentum", (0.1, None))),
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            trainer.step(IMAGES[:20], LABELS[:20])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    model[4].p, model[1].momentum = 0.25, 0.5
    twin = copy.deepcopy(trainer)
    assert trainer.step(IMAGES, LABELS) == twin.step(IMAGES, LABELS)
    same(everything(trainer), everything(twin))
