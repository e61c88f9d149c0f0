import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD
from reference import network as reference


def small_model(dtype=np.float32):
    nn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, dtype=dtype), nn.BatchNorm2d(6, dtype=dtype), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96, 10, dtype=dtype),
    )  # fmt: skip


def problem(n=150, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 8, 8), dtype=np.uint8), rng.integers(0, 10, n)


def trainer_for(model=None, lr=0.05, **options):
    return piste.Trainer(model or small_model(), nn.CrossEntropyLoss(), SGD(lr, 0.9), **options)


def test_a_step_is_the_textbook_step():
    nn.manual_seed(3)
    model = nn.Sequential(nn.Linear(7, 4, dtype=np.float64))
    weight, bias = model[0].weight.copy(), model[0].bias.copy()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 7)), rng.integers(0, 4, 9)
    logits = x @ weight.T + bias
    loss = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.5)).step(x, y)
    assert loss == pytest.approx(reference.cross_entropy(logits, y), rel=1e-12)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p[np.arange(9), y] -= 1
    np.testing.assert_allclose(model[0].weight, weight - 0.5 * p.T @ x / 9, rtol=1e-12)
    np.testing.assert_allclose(model[0].bias, bias - 0.5 * p.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "value", "slope"),
    [
        (nn.MSELoss(), lambda d: (d**2).mean(), lambda d: 2 * d / d.size),
        (nn.LeastSquaresLoss(), lambda d: (d**2).sum(), lambda d: 2 * d),
        (nn.L1Loss(), lambda d: abs(d).mean(), lambda d: np.sign(d) / d.size),
    ],
)
def test_pointwise_losses(loss, value, slope):
    model = nn.Sequential(nn.Linear(3, 2, dtype=np.float64))
    weight, bias = model[0].weight.copy(), model[0].bias.copy()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    d = x @ weight.T + bias - y
    assert piste.Trainer(model, loss, SGD(0.1)).step(x, y) == pytest.approx(value(d), rel=1e-12)
    np.testing.assert_allclose(model[0].weight, weight - 0.1 * slope(d).T @ x, rtol=1e-10)


@pytest.mark.parametrize("loss", [nn.BCELoss(), nn.BCEWithLogitsLoss()])
def test_binary_cross_entropy(loss):
    tail = [nn.Sigmoid()] if isinstance(loss, nn.BCELoss) else []
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1, dtype=np.float64), *tail)
    weight, bias = model[0].weight.copy(), model[0].bias.copy()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 3)), rng.integers(0, 2, (50, 1)).astype(float)
    p = 1 / (1 + np.exp(-(x @ weight.T + bias)))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert piste.Trainer(model, loss, SGD(0.1)).step(x, y) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(model[0].weight, weight - 0.1 * (p - y).T @ x / 50, rtol=1e-7)


def test_same_bits_on_any_number_of_threads():
    threads = piste.get_num_threads()
    states = []
    try:
        for n in range(1, 9):
            piste.set_num_threads(n)
            trainer = trainer_for()
            trainer.fit(*problem(), epochs=2, batch_size=37)
            states.append(trainer.model.state_dict())
    finally:
        piste.set_num_threads(threads)
    for state in states[1:]:
        for name, array in state.items():
            np.testing.assert_array_equal(array, states[0][name], err_msg=name)


@pytest.mark.parametrize(
    ("n", "batch_size", "steps"), [(100, 10, 10), (101, 10, 11), (20, 1, 20), (30, "full", 1)]
)
def test_an_epoch_has_ceil_n_over_m_steps(n, batch_size, steps):
    trainer = trainer_for(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), lr=0.001)
    history = trainer.fit(*problem(n), epochs=1, batch_size=batch_size)
    assert trainer.steps == steps
    assert len(history) == 1


def test_it_learns_and_reports():
    from piste.data import load_digits

    data = load_digits()
    trainer = trainer_for()
    history = trainer.fit(
        data.x_train, data.y_train, epochs=3, validation_data=(data.x_test, data.y_test)
    )
    assert history.loss[-1] < history.loss[0]
    assert history.val_accuracy[-1] > 0.9
    assert (trainer.predict(data.x_test).argmax(axis=1) == data.y_test).mean() == pytest.approx(
        trainer.evaluate(data.x_test, data.y_test)[1]
    )


def test_a_learning_rate_per_group():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    before = model.state_dict()
    optimizer = SGD(0.1, groups=[{"params": ["1"], "lr": 0.0}])
    piste.Trainer(model, nn.CrossEntropyLoss(), optimizer).step(*problem(20))
    after = model.state_dict()
    np.testing.assert_array_equal(after["1.weight"], before["1.weight"])
    assert not np.array_equal(after["3.weight"], before["3.weight"])
    with pytest.raises(ValueError, match="no parameter '7'"):
        SGD(0.1, groups=[{"params": ["7"], "lr": 0.0}]).options(["1.weight"])


def test_divergence_is_named_and_the_last_good_weights_stay():
    trainer = trainer_for(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    trainer.loss, trainer.optimizer.lr = nn.LeastSquaresLoss(), 10.0
    x = np.random.default_rng(0).standard_normal((50, 8, 8)).astype(np.float32)
    with pytest.raises(piste.DivergenceError) as caught:
        trainer.fit(x, np.ones((50, 1), np.float32), epochs=500, batch_size=10)
    error = caught.value
    assert error.lr == 10.0
    assert error.step == trainer.steps
    assert error.layer in ("0", "1")
    assert all(np.isfinite(array).all() for array in trainer.model.state_dict().values())


@pytest.mark.parametrize("fused", [False, True])
def test_a_variance_that_overflows_is_divergence(fused):
    nn.manual_seed(0)
    norm = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    first = nn.Residual(norm) if fused else norm
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))
    trainer, before = trainer_for(model), model.state_dict()
    x = np.random.default_rng(0).standard_normal((256, 1, 8, 8)).astype(np.float32)
    with pytest.raises(piste.DivergenceError):
        trainer.step(x * np.float32(1e18), np.arange(256) % 10)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert np.isfinite(trainer.step(x, np.arange(256) % 10))
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


def test_a_diverged_model_is_refused():
    trainer = trainer_for()
    trainer.model[6].weight[0, 0] = np.nan
    before = trainer.model.state_dict()
    with pytest.raises(piste.DivergenceError, match="first non-finite layer '6'"):
        trainer.step(*problem())
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_training_resumes_on_the_same_bits(tmp_path):
    x, y = problem()
    straight = trainer_for(seed=5)
    straight.fit(x, y, epochs=4, batch_size=16)
    first = trainer_for(seed=5)
    first.fit(x, y, epochs=2, batch_size=16)
    first.save(tmp_path / "half.safetensors")
    second = piste.Trainer.load(tmp_path / "half.safetensors")
    second.fit(x, y, epochs=2, batch_size=16)
    for name, array in straight.model.state_dict().items():
        np.testing.assert_array_equal(array, second.model.state_dict()[name], err_msg=name)
    assert straight.history.loss == second.history.loss


def test_a_batch_whose_labels_are_all_ignored_is_no_divergence():
    nn.manual_seed(0)
    x, ignored = np.ones((4, 3), np.float32), np.full(4, -100)
    trainer = piste.Trainer(nn.Linear(3, 2), nn.CrossEntropyLoss(), piste.optim.SGD(0.1))
    before = trainer.model.state_dict()
    assert trainer.step(x, ignored) == 0
    assert trainer.evaluate(x, ignored)[0] == 0
    assert all((before[k] == v).all() for k, v in trainer.model.state_dict().items())
    assert np.isnan(trainer.loss(trainer.predict(x), ignored))  # as in PyTorch
