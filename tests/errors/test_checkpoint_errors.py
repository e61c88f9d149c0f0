"""Weights files that cannot be written or are not what they seem; nothing is lost."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import piste
import pytest
from piste import nn
from piste.checkpoint import load_arrays, save_arrays
from piste.optim import SGD, ReduceLROnPlateau
from safetensors.numpy import save_file


def make_trainer(**options):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    return piste.Trainer(
        model, nn.CrossEntropyLoss(), SGD(0.1, 0.9, **options), schedule=ReduceLROnPlateau()
    )


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "weights"
    make_trainer().save(target)
    return target


def test_a_full_disk_leaves_the_old_file(path):
    # The system refuses to let any file grow beyond 1 kB, as a full disk would.
    code = """
import resource, sys
import piste
trainer = piste.Trainer.load(sys.argv[1])
trainer.model[1].weight[...] = 7
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    trainer.save(sys.argv[1])
except OSError as error:
    print(error)
"""
    old = path.read_bytes()
    assert len(old) > 1000
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"[Errno 27] {path}: cannot be written: File too large\n"
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_save_leaves_the_old_file(path, monkeypatch):
    old = path.read_bytes()

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_trainer().save(path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_places_where_no_file_can_be(tmp_path):
    trainer = make_trainer()
    with pytest.raises(FileNotFoundError, match="none/weights: no such folder"):
        trainer.save(tmp_path / "none" / "weights")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        trainer.save(tmp_path)
    with pytest.raises(OSError, match="/proc/weights: cannot be written"):
        trainer.save("/proc/weights")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe: is a device or a pipe, not a file"):
        trainer.save(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_rights_and_links_are_the_usual_ones(tmp_path):
    before = os.umask(0o022)
    try:
        make_trainer().save(tmp_path / "target")
        (tmp_path / "link").symlink_to("target")
        make_trainer().save(tmp_path / "link")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o644
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("length", [0, 1, 7, 8, 50, 500, 1000, -100, -1])
def test_a_truncated_file(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="weights: not a whole weights file"):
        piste.Trainer.load(path)


@pytest.mark.parametrize("content", [b"nonsense", b"PK\x03\x04" * 99, b"\xff" * 4096])
def test_a_file_of_another_kind(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="weights: not a whole weights file"):
        piste.Trainer.load(path)


def test_a_folder_and_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"not a whole weights file \(it is a folder\)"):
        piste.Trainer.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing: no such file"):
        piste.Trainer.load(tmp_path / "nothing")


@pytest.mark.parametrize("metadata", [None, {}, {"piste": "[]"}, {"piste": '{"format": 99}'}])
def test_somebody_elses_weights(path, metadata):
    save_file({"weight": np.zeros(3)}, path, metadata)
    with pytest.raises(ValueError, match=r"weights: not a file that Trainer\.save wrote"):
        piste.Trainer.load(path)


def test_broken_metadata(path):
    save_file({"weight": np.zeros(3)}, path, {"piste": "{"})
    with pytest.raises(ValueError, match="weights: broken metadata"):
        piste.Trainer.load(path)
    save_file({"weight": np.zeros(3)}, path, {"piste": "[" * 100_000})
    with pytest.raises(ValueError, match="weights: broken metadata"):
        piste.Trainer.load(path)


def test_weights_of_a_kind_that_numpy_has_not(path):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match="weights: not a"):
        piste.Trainer.load(path)


def changed(path, change):
    arrays, state = load_arrays(path)
    change(arrays, state)
    save_arrays(path, arrays, state)


def retyped(arrays, name, dtype):
    arrays[name] = arrays[name].astype(dtype)


CHANGES = {
    "no steps": lambda a, s: s.pop("steps"),
    "steps of another type": lambda a, s: s.update(steps="many"),
    "no optimizer": lambda a, s: s.pop("optimizer"),
    "a strange optimizer": lambda a, s: s["optimizer"].update(speed=3),
    "a bad learning rate": lambda a, s: s["optimizer"].update(lr=-1),
    "no model": lambda a, s: s.update(model=None),
    "an unknown layer": lambda a, s: s["model"].update({"class": "Attention"}),
    "a name that is no layer": lambda a, s: s["model"].update({"class": "manual_seed"}),
    "strange arguments": lambda a, s: s["model"]["layers"][1]["arguments"].update(depth=3),
    "another size": lambda a, s: s["model"]["layers"][1]["arguments"].update(in_features=5),
    "no generator": lambda a, s: s.pop("rng"),
    "another generator": lambda a, s: s["rng"].update(bit_generator="MT19937"),
    "a strange history": lambda a, s: s["history"].update(mood=[]),
    "no momentum": lambda a, s: a.pop("optimizer.momentum_buffer.1.weight"),
    "momentum of one value": lambda a, s: a.update(
        {"optimizer.momentum_buffer.1.weight": np.zeros(1)}
    ),
    "no weight": lambda a, s: a.pop("model.1.weight"),
    "a weight of integers": lambda a, s: retyped(a, "model.1.weight", np.int32),
    "a weight of another size": lambda a, s: retyped(a, "model.1.weight", np.float64),
    "momentum of integers": lambda a, s: retyped(a, "optimizer.momentum_buffer.1.weight", np.int32),
    "a generator that is none": lambda a, s: s.update(rng=[]),
    "a generator beyond 128 bits": lambda a, s: s["rng"]["state"].update(state=2**200),
    "a generator below 0": lambda a, s: s["rng"]["state"].update(state=-1),
    "a fractional generator": lambda a, s: s["rng"]["state"].update(state=1.5),
    "a generator that is true": lambda a, s: s["rng"]["state"].update(state=True),
    "a generator of even steps": lambda a, s: s["rng"]["state"].update(inc=4),
    "a generator of negative steps": lambda a, s: s["rng"]["state"].update(inc=-3),
    "a generator with a long rest": lambda a, s: s["rng"].update(uinteger=2**40),
    "a generator with seven rests": lambda a, s: s["rng"].update(has_uint32=7),
    "a generator with half a rest": lambda a, s: s["rng"].update(has_uint32=0.5),
    "a history of letters": lambda a, s: s["history"].update(loss="abc"),
    "a history of texts": lambda a, s: s["history"].update(loss=["a"]),
    "a history of nothing": lambda a, s: s["history"].update(lr=[None]),
    "a history of names": lambda a, s: s["history"].update(accuracy={"a": 1}),
    "a history of epochs that lack a figure": lambda a, s: s["history"].update(loss=[1.0]),
    "reductions without end": lambda a, s: s["schedule"]["state"].update(reductions="inf"),
    "half a reduction": lambda a, s: s["schedule"]["state"].update(reductions="0.5"),
    "a best that is none": lambda a, s: s["schedule"]["state"].update(best="nan"),
    "one weight more": lambda a, s: a.update({"model.2.weight": np.zeros(1)}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_lacks_something(path, name):
    changed(path, CHANGES[name])
    with pytest.raises(ValueError, match=r"weights: not a whole file of Trainer\.save"):
        piste.Trainer.load(path)


def test_an_unchanged_copy_loads(path):
    changed(path, lambda a, s: None)
    assert piste.Trainer.load(path).steps == 0


def test_layers_of_the_users_own_are_refused_before_a_file_appears(tmp_path):
    class Twice(nn.Module):
        def _lower(self, net, value, name):
            return value

    trainer = make_trainer()
    own = piste.Trainer(nn.Sequential(Twice(), trainer.model), trainer.loss, SGD(0.1))
    with pytest.raises(TypeError, match=r"expected layers and losses of piste\.nn, got Twice"):
        own.save(tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


def test_numpy_numbers_are_saved_as_numbers(tmp_path):
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(np.int64(1), np.int32(2), (np.int8(3), 1)), nn.BatchNorm2d(2, np.float32(1e-3)),
        nn.LeakyReLU(np.float32(0.5)), nn.Dropout(np.float64(0.25)), nn.Flatten(),
    )  # fmt: skip
    optimizer = SGD(np.float32(0.1), groups=[{"params": ["0"], "lr": np.float64(0.2)}])
    loss = nn.CrossEntropyLoss(
        np.ones(2 * 2 * 4, np.float32), ignore_index=np.int64(-1), reduction="sum",
        label_smoothing=np.float32(0.5),
    )  # fmt: skip
    piste.Trainer(model, loss, optimizer, seed=np.int64(3)).save(tmp_path / "w")
    again = piste.Trainer.load(tmp_path / "w")
    assert repr(again.model) == repr(model)
    assert again.optimizer.groups == [{"params": ["0"], "lr": 0.2}]
    assert again.loss.ignore_index == -1
    np.testing.assert_array_equal(again.loss.weight, np.ones(16))


def test_a_file_is_not_replaced_by_one_that_cannot_be_loaded(tmp_path):
    optimizer = SGD(lr=0.5, groups=[{"params": ["0.bias"], "lr": 0.1}])
    trainer = piste.Trainer(nn.Sequential(nn.Linear(3, 2)), nn.MSELoss(), optimizer)
    trainer.save(tmp_path / "good")
    trainer.optimizer.groups[0]["lr"] = -1
    with pytest.raises(ValueError, match="lr: expected"):
        trainer.save(tmp_path / "good")
    assert piste.Trainer.load(tmp_path / "good").optimizer.lr == 0.5


def longer(trainer, name, value):
    getattr(trainer.history, name).append(value)


NONSENSE = {
    "steps: expected an integer from 0": lambda t: setattr(t, "steps", -1),
    "steps: expected an integer, got str 'a'": lambda t: setattr(t, "steps", "a"),
    "steps: expected an integer, got float 1.5": lambda t: setattr(t, "steps", 1.5),
    "history: expected a History, got dict": lambda t: setattr(t, "history", {}),
    "history: expected the lists .*'mood'": lambda t: setattr(t.history, "mood", []),
    "history.lr: expected a list of numbers, got str": lambda t: setattr(t.history, "lr", "a"),
    r"history.loss\[2\]: expected a number, got str 'x'": lambda t: longer(t, "loss", "x"),
    r"history.lr\[2\]: expected a number, got bool True": lambda t: longer(t, "lr", True),
    r"history.lr\[2\]: expected a number, got an array": lambda t: longer(t, "lr", np.ones(3)),
    r"history.loss\[2\]: expected .* too large": lambda t: longer(t, "loss", 10**400),
    "history.accuracy: expected .* each of the 3 .*, got 2": lambda t: longer(t, "loss", 1.0),
    "history.lr: expected .* each of the 2 .*, got 3": lambda t: longer(t, "lr", 1.0),
    "history.val_loss: expected .* each of the 1 .*, got 2": lambda t: setattr(
        t, "history", piste.History([1.0], [1.0], [1.0, 2.0], [], [1.0], [1.0], [1.0])
    ),
    "factor: expected a number below 1, got 2": lambda t: setattr(t.schedule, "factor", 2),
    "label_smoothing: expected": lambda t: setattr(t.loss, "label_smoothing", 7),
}


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_is_found_before_a_file_is_replaced(path, message):
    trainer, old = piste.Trainer.load(path), path.read_bytes()
    x, y = np.ones((6, 4, 4), np.float32), np.arange(6) % 3
    trainer.fit(x, y, epochs=2)

    def change_and_save():
        NONSENSE[message](trainer)  # which may say so itself
        trainer.save(path)

    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        change_and_save()
    assert path.read_bytes() == old


def test_a_history_may_hold_figures_of_the_users_own(path):
    trainer = piste.Trainer.load(path)
    x, y = np.ones((6, 4, 4), np.float32), np.arange(6) % 3
    trainer.fit(x, y, epochs=2)
    trainer.history.val_loss.append(np.float32(0.5))
    trainer.history.accuracy[0], trainer.history.loss[1] = np.float32(np.nan), np.int64(2)
    trainer.steps = np.int64(7)
    trainer.save(path)
    again = piste.Trainer.load(path)
    assert (again.steps, again.history.val_loss, again.history.loss[1]) == (7, [0.5], 2)
    assert np.isnan(again.history.accuracy[0])
