"""What is called after each epoch, and where it leaves the model."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from piste.optim import SGD, ReduceLROnPlateau, StepLR
from reference.training import IMAGES, LABELS, everything, network, same


def make(lr=0.05, **options):
    return piste.Trainer(network(), nn.CrossEntropyLoss(), SGD(lr, 0.9), **options)


def scripted(values):
    """Puts its own figures into the history."""

    def callback(trainer, history):
        history.val_loss.append(values[len(history) - 1])

    return callback


def fit(trainer, values, *callbacks, **options):
    options = {"epochs": len(values), "batch_size": 45} | options
    states = []
    keep = lambda t, _: states.append(t.model.state_dict())  # noqa: E731
    trainer.fit(IMAGES, LABELS, callbacks=[scripted(values), keep, *callbacks], **options)
    return states


@pytest.mark.parametrize("patience", [0, 2])
def test_early_stopping_restores_the_best_weights(patience):
    stopping = EarlyStopping(patience=patience)
    trainer = make()
    states = fit(trainer, [3.0, 1.0, 1.0, 2.0, 1.0, 0.5, 0.1], stopping)
    assert len(states) == 3 + patience
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1.0, 1, 2 + patience)
    same(trainer.model.state_dict(), states[1])


def test_best_weights_are_restored_without_a_stop_too():
    stopping, trainer = EarlyStopping(patience=9), make()
    states = fit(trainer, [3.0, 1.0, 2.0], stopping)
    assert len(states) == 3
    assert stopping.stopped_epoch == -1
    same(trainer.model.state_dict(), states[1])


def test_early_stopping_may_keep_the_last_weights():
    trainer = make()
    states = fit(trainer, [1.0, 2.0, 3.0], EarlyStopping(restore_best_weights=False))
    assert len(states) == 2
    same(trainer.model.state_dict(), states[-1])


@pytest.mark.parametrize(
    ("options", "values", "epochs"),
    [
        ({"min_delta": 0.1}, [1.0, 0.95, 0.8], 2),
        ({"mode": "max"}, [1.0, 2.0, 1.5, 3.0], 3),
        ({}, [np.nan, np.nan, 1.0], 2),
        ({}, [1.0, np.nan, 0.5], 2),
    ],
)
def test_what_counts_as_better(options, values, epochs):
    assert len(fit(make(), values, EarlyStopping(**options))) == epochs


def test_accuracy_should_grow_and_loss_stands_in_for_val_loss():
    assert EarlyStopping("val_accuracy").best == -np.inf
    trainer, stopping = make(lr=0.0), EarlyStopping(patience=1)
    trainer.fit(IMAGES, LABELS, epochs=9, batch_size="full", callbacks=[stopping])
    assert stopping.best == pytest.approx(trainer.history.loss[0], rel=0.5)


def test_a_stop_holds_for_one_fit():
    trainer, stopping = make(), EarlyStopping()
    fit(trainer, [1.0, 2.0, 3.0], stopping)
    assert len(fit(trainer, [1.0, 0.5], stopping)) == 2


def test_any_callable_may_stop():
    trainer = make()

    def stop(t, history):
        t.stop_training = len(history) == 2

    assert len(trainer.fit(IMAGES, LABELS, epochs=9, callbacks=[stop])) == 2


def test_checkpoints_every_n_epochs_resume(tmp_path):
    trainer = make(seed=3)
    trainer.fit(IMAGES, LABELS, epochs=5, callbacks=[ModelCheckpoint(tmp_path / "e{epoch}", 2)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e2", "e4"]
    again = piste.Trainer.load(tmp_path / "e4")
    again.fit(IMAGES, LABELS, epochs=1)
    same(everything(again), everything(trainer))


def test_checkpoints_of_the_best(tmp_path):
    saved = ModelCheckpoint(tmp_path / "{epoch}", monitor="val_loss")
    fit(make(), [2.0, 3.0, 1.0, 1.0, 0.5], saved)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3", "5"]


def test_learning_rates_are_noted():
    lines = []
    monitor = LearningRateMonitor(lines.append)
    trainer = make(0.5, schedule=StepLR(1, 0.1, "epoch"))
    trainer.fit(IMAGES, LABELS, epochs=3, callbacks=[monitor])
    assert set(monitor.rates) == {name for name, _ in trainer.model.named_parameters()}
    np.testing.assert_allclose(monitor.rates["8.bias"], [0.05, 0.005, 0.0005])
    np.testing.assert_allclose(trainer.history.lr, [0.5, 0.05, 0.005])
    assert lines[0] == "epoch 1: learning rate 0.05"


def test_begin_and_end_are_called():
    calls = []

    class Noting(Callback):
        def begin(self, trainer):
            calls.append("begin")

        def __call__(self, trainer, history):
            calls.append(len(history))

        def end(self, trainer, history):
            calls.append("end")

    make().fit(IMAGES, LABELS, epochs=2, callbacks=[Noting()])
    assert calls == ["begin", 1, 2, "end"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_exception_leaves_the_model_at_a_step_boundary(error):
    trainer, twin, straight = make(seed=4), make(seed=4), make(seed=4)

    def fail(_, history):
        if len(history) == 2:
            raise error

    with pytest.raises(error):
        trainer.fit(IMAGES, LABELS, epochs=5, batch_size=16, callbacks=[fail])
    twin.fit(IMAGES, LABELS, epochs=2, batch_size=16)
    same(everything(trainer), everything(twin))
    assert trainer.steps == twin.steps
    assert trainer.history.loss == twin.history.loss
    trainer.fit(IMAGES, LABELS, epochs=1, batch_size=16)  # and goes on from there
    straight.fit(IMAGES, LABELS, epochs=3, batch_size=16)
    same(everything(trainer), everything(straight))


@pytest.mark.parametrize(
    ("make_one", "error", "message"),
    [
        (lambda: EarlyStopping("mood"), ValueError, "monitor: expected one of .*, got 'mood'"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta: expected a finite number"),
        (lambda: EarlyStopping(patience=-1), ValueError, "patience: expected an integer from 0"),
        (lambda: EarlyStopping(mode="up"), ValueError, "mode: expected 'auto', 'min' or 'max'"),
        (lambda: ModelCheckpoint("a", 0), ValueError, "every: expected an integer from 1"),
        (lambda: ModelCheckpoint("{step}"), ValueError, "path: expected no field but {epoch}"),
        (lambda: ModelCheckpoint(3), TypeError, "expected str"),
        (lambda: ModelCheckpoint(b"w"), TypeError, "path: expected text, got bytes b'w'"),
        (lambda: ModelCheckpoint("{epoch.x}"), ValueError, "path: expected no field but {epoch}"),
        (lambda: ModelCheckpoint("{epoch[0]}"), ValueError, "path: expected no field but {epoch}"),
        (lambda: ModelCheckpoint("w", mode="up"), ValueError, "mode: expected 'auto', 'min' or"),
        (
            lambda: EarlyStopping(restore_best_weights="no"),
            TypeError,
            "restore_best_weights: expected True or False, got str 'no'",
        ),
        (lambda: LearningRateMonitor(3), TypeError, "log: expected a function, got 3"),
    ],
)
def test_errors(make_one, error, message):
    with pytest.raises(error, match=message):
        make_one()


WATCHERS = [
    (lambda: {"callbacks": [EarlyStopping("val_accuracy", patience=3)]}, "val_accuracy"),
    (lambda: {"callbacks": [EarlyStopping("accuracy")]}, "accuracy"),
    (lambda: {"callbacks": [Callback(), ModelCheckpoint("w", monitor="accuracy")]}, "accuracy"),
    (lambda: {"schedule": ReduceLROnPlateau("max", monitor="val_accuracy")}, "val_accuracy"),
]


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize(("make_options", "name"), WATCHERS)
def test_an_accuracy_that_is_not_defined_is_not_watched(make_options, name, held_out):
    options = make_options()
    callbacks = options.pop("callbacks", [])
    trainer = piste.Trainer(network(), nn.MSELoss(), SGD(0.01), **options)
    y = np.eye(10)[LABELS]
    message = f"monitor: '{name}' is defined for integer labels only; expected '{name[:-8]}loss'"
    data = (IMAGES, y) if held_out else None
    if name.startswith("val_") and not held_out:
        message = f"monitor='{name}' needs validation_data"
    with pytest.raises(ValueError, match=message):
        trainer.fit(IMAGES, y, callbacks=callbacks, validation_data=data)
    assert trainer.steps == 0
    later = [lambda *_: None, *callbacks]  # a function might have put a figure there: it did not
    with pytest.raises(ValueError, match=message):
        trainer.fit(IMAGES, y, epochs=3, callbacks=later, validation_data=data)
    assert len(trainer.history) == (1 if callbacks else 0)


def test_labels_that_all_are_ignored_have_no_accuracy():
    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(ignore_index=3), SGD(0.0))
    held_out = IMAGES[:3], np.full(3, 3)
    with pytest.raises(ValueError, match="monitor: 'val_accuracy' is defined for integer labels"):
        trainer.fit(
            IMAGES, LABELS, validation_data=held_out, callbacks=[EarlyStopping("val_accuracy")]
        )


def test_a_figure_of_the_users_own_may_be_watched():
    def note(trainer, history):
        history.val_accuracy.append(1 / len(history))

    trainer = piste.Trainer(network(), nn.MSELoss(), SGD(0.01))
    stopping = EarlyStopping("val_accuracy", patience=1)
    trainer.fit(IMAGES, np.eye(10)[LABELS], epochs=5, callbacks=[note, stopping])
    assert (stopping.best, stopping.stopped_epoch) == (1.0, 2)


WITHOUT = [
    (lambda p: {"callbacks": [EarlyStopping("val_loss")]}, "EarlyStopping", "loss"),
    (lambda p: {"callbacks": [EarlyStopping(monitor="val_accuracy")]}, "EarlyStopping", "accuracy"),
    (lambda p: {"callbacks": [ModelCheckpoint(p, 1, "val_loss")]}, "ModelCheckpoint", "loss"),
    (
        lambda p: {"callbacks": [Callback(), ModelCheckpoint(p, monitor="val_accuracy")]},
        "ModelCheckpoint", "accuracy",
    ),
    (lambda p: {"schedule": ReduceLROnPlateau(monitor="val_loss")}, "ReduceLROnPlateau", "loss"),
]  # fmt: skip


@pytest.mark.parametrize(("make_options", "kind", "name"), WITHOUT)
def test_validation_that_is_not_given_is_not_watched(make_options, kind, name, tmp_path):
    options = make_options(tmp_path / "w")
    callbacks = options.pop("callbacks", [])
    trainer = make(**options)
    message = (
        f"^{kind}: monitor='val_{name}' needs validation_data, which fit was not given; expected "
        f"monitor='{name}', say$"
    )
    before = trainer.model.state_dict()
    with pytest.raises(ValueError, match=message):
        trainer.fit(IMAGES, LABELS, callbacks=callbacks)
    assert trainer.steps == 0
    same(trainer.model.state_dict(), before)
    trainer.fit(IMAGES, LABELS, callbacks=callbacks, validation_data=(IMAGES, LABELS))
    assert len(trainer.history) == 1
    (tmp_path / "w").unlink(missing_ok=True)
    # Figures of an earlier call are none of this one's, and this function puts none there.
    later = [lambda *_: None, *callbacks]
    with pytest.raises(ValueError, match=message):
        trainer.fit(IMAGES, LABELS, epochs=3, callbacks=later)
    assert len(trainer.history) == (2 if callbacks else 1)
    assert list(tmp_path.iterdir()) == []


def test_a_callback_of_the_users_own_may_validate():
    class Validating(Callback):
        def __call__(self, trainer, history):
            history.val_loss.append(float(len(history)))

    stopping, trainer = EarlyStopping("val_loss"), make()
    trainer.fit(IMAGES, LABELS, epochs=5, callbacks=[Validating(), stopping])
    assert (stopping.best, stopping.stopped_epoch) == (1.0, 1)


def test_a_plateau_without_validation_is_one_of_the_loss():
    schedule = ReduceLROnPlateau(patience=0)
    trainer = make(lr=0.0, schedule=schedule)
    trainer.fit(IMAGES, LABELS, validation_data=(IMAGES, LABELS))
    assert schedule.state["best"] == trainer.history.val_loss[0]
    schedule.state["best"] = np.inf
    trainer.fit(IMAGES, LABELS)
    assert schedule.state["best"] == trainer.history.loss[1]
    assert len(trainer.history.val_loss) == 1


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none/w", FileNotFoundError, "none/w: no such folder"),
        ("none/{epoch}", FileNotFoundError, "none/3: no such folder"),
        ("", IsADirectoryError, "is a folder"),
    ],
)
def test_places_for_no_checkpoint_are_found_before_training(tmp_path, name, error, message):
    trainer = make()
    with pytest.raises(error, match=message):
        trainer.fit(IMAGES, LABELS, callbacks=[ModelCheckpoint(tmp_path / name, 3)])
    assert trainer.steps == 0
    assert list(tmp_path.iterdir()) == []


def test_folders_of_their_own_may_appear_later(tmp_path):
    def make_folder(trainer, history):
        (tmp_path / str(len(trainer.history))).mkdir()

    saved = ModelCheckpoint(tmp_path / "{epoch}" / "w")
    make().fit(IMAGES, LABELS, epochs=2, callbacks=[make_folder, saved])
    assert (tmp_path / "2" / "w").is_file()


def test_a_loss_that_a_callback_sets_is_held_to_its_targets():
    model = nn.Sequential(nn.Linear(3, 1))
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.0))
    x, y = np.ones((8, 3), np.float32), np.full((8, 1), 7.4)

    def change(trainer, history):
        trainer.loss = nn.BCEWithLogitsLoss()

    with pytest.raises(ValueError, match="y: expected targets from 0 to 1"):
        trainer.fit(x, y, epochs=3, callbacks=[change], progress=False)
    assert len(trainer.history) == 1
