"""Plans as tables, their memory, and the cache that keeps them."""

import re
import subprocess
import sys

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD


def trainer_for(model):
    return piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.05, 0.9))


def lenet():
    nn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10),
    )  # fmt: skip


def test_a_plan_names_every_step_with_its_shapes_and_work():
    plan = trainer_for(lenet()).plan((64, 1, 28, 28))
    assert (plan.mode, plan.batch, plan.dtype) == ("train", 64, "float32")
    assert plan.threads == piste.get_num_threads()
    forward = [s for s in plan.steps if s.direction == "forward"]
    assert [s.kernel for s in forward] == [
        "gather", "conv+bias+relu", "max pool", "conv+bias+relu", "max pool",
        "linear+bias+relu", "linear+bias", "loss",
    ]  # fmt: skip
    assert [s.layer for s in forward] == ["input", "0", "2", "3", "5", "7", "9", ""]
    first, last = forward[1], forward[-2]
    assert (first.input, first.output) == ((64, 1, 28, 28), (64, 6, 28, 28))
    assert (last.input, last.output) == ((64, 120), (64, 10))
    assert first.flops == 64 * 6 * 28 * 28 * 25 * 2
    assert last.flops == 64 * 120 * 10 * 2
    backward = [s for s in plan.steps if s.direction == "backward"]
    assert [s.layer for s in backward] == ["9", "7", "5", "3", "2", "0"]
    # The first layer's gradient goes to its weights alone, the others' to their input as well.
    assert backward[-1].flops == first.flops
    assert backward[0].flops == 2 * last.flops
    assert plan.flops == sum(s.flops for s in plan.steps)
    # At least the values themselves and the weights.
    assert first.bytes >= 4 * 64 * (28 * 28 + 6 * 28 * 28) + 4 * 156
    assert plan.memory_bytes == plan.arena_bytes + plan.threads * plan.worker_bytes
    assert plan.arena_bytes > 0


def test_the_table_has_a_line_a_step():
    plan = trainer_for(lenet()).plan((64, 28, 28))
    text = str(plan)
    assert repr(plan) == text
    lines = [line for line in text.splitlines() if not line.startswith("---")]
    assert lines[0].startswith("train: batch 64 in 8 groups, micro-batches of ")
    assert lines[1].split() == [
        "step", "pass", "layer", "kernel", "algorithm", "input", "output", "bytes", "flops",
    ]  # fmt: skip
    assert len(lines) == len(plan.steps) + 3
    assert lines[3].split()[:6] == ["1", "forward", "0", "conv+bias+relu", "direct", "64x1x28x28"]
    assert "15.1 M" in lines[3]
    assert "arena" in lines[-1]


def test_modes_differ():
    trainer = trainer_for(lenet())
    shape = (100, 1, 28, 28)
    train, evaluate, predict = (
        trainer.plan(shape, mode=m) for m in ("train", "evaluate", "predict")
    )
    assert (
        {s.direction for s in evaluate.steps} == {s.direction for s in predict.steps} == {"forward"}
    )
    assert evaluate.steps[-1].kernel == "loss"
    assert predict.steps[-1].kernel == "output"
    assert predict.arena_bytes < train.arena_bytes
    assert trainer.plan((5000, 1, 28, 28), mode="predict").batch == 1024  # at a time


def test_algorithms_are_named():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)
    )
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.1))
    before = piste.get_algorithm()
    try:
        piste.set_algorithm("winograd")
        assert trainer.plan((8, 3, 16, 16)).steps[2].algorithm.startswith("winograd")
        piste.set_algorithm("direct")
        assert trainer.plan((8, 3, 16, 16)).steps[2].algorithm == "direct"
    finally:
        piste.set_algorithm(before)


def test_batch_norm_cuts_segments():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
    )
    steps = trainer_for(model).plan((16, 1, 8, 8)).steps
    norms = [s.segment for s in steps if s.kernel == "batch norm+relu"]
    assert norms[0] != norms[1]
    assert [s.segment for s in steps] == sorted(s.segment for s in steps)


def block(channels, filters, stride=1):
    def conv_norm(channels, filters, kernel, stride=1):
        conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
        return conv, nn.BatchNorm2d(filters)

    body = nn.Sequential(
        *conv_norm(channels, filters, 3, stride), nn.ReLU(), *conv_norm(filters, filters, 3)
    )
    shortcut = nn.Sequential(*conv_norm(channels, filters, 1, stride)) if stride > 1 else None
    return nn.Residual(body, shortcut), nn.ReLU()


def test_sums_share_passes_with_the_norms_before_and_relu_behind():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *block(16, 16), *block(16, 32, 2),
        nn.Residual(nn.Conv2d(32, 32, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    plan = trainer_for(model).plan((8, 3, 8, 8))
    steps = [(s.layer, s.kernel) for s in plan.steps if s.direction == "forward"]
    assert steps == [
        ("input", "gather"), ("0", "conv+bias+relu"),
        ("2.body.0", "conv"), *2 * [("2.body.1", "batch norm+relu")],
        ("2.body.3", "conv"), *2 * [("2.body.4", "batch norm+add+relu")],
        ("4.body.0", "conv"), *2 * [("4.body.1", "batch norm+relu")],
        ("4.body.3", "conv"), *2 * [("4.body.4", "batch norm")],
        ("4.shortcut.0", "conv"), *2 * [("4.shortcut.1", "2 batch norms+add+relu")],
        ("6.body", "conv+bias"), ("6", "add+relu"), ("9", "linear+bias"), ("", "loss"),
    ]  # fmt: skip
    # The gradients of what two layers read are added as the layer before reads them.
    assert [(s.layer, s.kernel) for s in plan.steps if s.direction == "backward"] == [
        ("9", "linear+bias"), ("6", "add+relu"), ("6.body", "conv+bias"),
        *2 * [("4.shortcut.1", "2 batch norms+add+relu")], ("4.shortcut.0", "conv"),
        *2 * [("4.body.4", "batch norm")], ("4.body.3", "conv"),
        *2 * [("4.body.1", "batch norm+relu")], ("4.body.0", "conv"),
        *2 * [("2.body.4", "batch norm+add+relu")], ("2.body.3", "conv"),
        *2 * [("2.body.1", "batch norm+relu")], ("2.body.0", "conv"), ("0", "conv+bias+relu"),
    ]  # fmt: skip
    values = 8 * 16 * 8 * 8
    moments, applied = (s for s in plan.steps if s.layer == "2.body.4" and s.direction == "forward")
    assert (moments.flops, applied.flops) == (2 * values, 0)
    # Read: what the norm takes and what is added to it. Written: the block's output.
    assert (moments.bytes, applied.bytes) == (4 * values + 4 * 32, 3 * 4 * values)
    sums, applied = (s for s in plan.steps if s.layer == "2.body.4" and s.direction == "backward")
    assert (sums.flops, applied.flops) == (2 * values, 0)
    # Read: two gradients, the block's output and the norm's input. Written: their masked sum.
    assert (sums.bytes, applied.bytes) == (5 * 4 * values + 2 * 4 * 32, 3 * 4 * values)
    # A norm that is added to another is applied with that, from its own input.
    values = 8 * 32 * 4 * 4
    steps = [s for s in plan.steps if s.layer in ("4.body.4", "4.shortcut.1")][:4]
    assert [s.flops for s in steps] == [0, 0, 3 * values, 0]
    assert [s.bytes for s in steps] == [
        4 * values + 4 * 64, 0, 4 * values + 4 * 64, 3 * 4 * values
    ]  # fmt: skip


def test_passes_that_are_shared_take_less_memory():
    def sizes(*apart):
        body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), *apart)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Residual(body), *apart, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        trainer = trainer_for(model)
        return [trainer.plan((64, 3, 16, 16), mode=m).memory_bytes for m in ("train", "predict")]

    together, apart = sizes(), sizes(nn.LeakyReLU(1.0))
    values = 64 * 16 * 16 * 16
    assert together[0] <= apart[0] - 2 * 4 * values
    assert together[1] <= apart[1]


@pytest.mark.parametrize("bias", [True, False])
def test_linear_models_take_single_samples_without_a_plan(bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=bias))
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.05))
    plan = trainer.plan((1, 1, 28, 28))
    loss, update = plan.steps
    assert (loss.direction, loss.layer, loss.kernel) == ("forward", "", "loss")
    assert (loss.input, loss.output, loss.flops) == ((1, 10), (1, 10), 10)
    kernel = "update+next linear" + "+bias" * bias
    assert (update.direction, update.layer, update.kernel) == ("backward", "1", kernel)
    assert (update.input, update.output) == ((1, 784), (1, 10))
    assert update.flops == 2 * 2 * 7840
    assert update.bytes >= 2 * 4 * 7840
    assert (plan.batch, plan.micro_batch, plan.groups, plan.threads) == (1, 1, 1, 1)
    assert plan.memory_bytes >= 4 * (7840 + 2 * 784)
    assert "update+next linear" in str(plan)
    for other in (trainer.plan((2, 1, 28, 28)), trainer.plan((1, 1, 28, 28), mode="predict")):
        assert [s.kernel for s in other.steps][:2] == ["gather", "linear" + "+bias" * bias]


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": SGD(0.05, momentum=0.9)},
        {"optimizer": piste.optim.Adam()},
        {"clip_grad_norm": 1.0},
        {"accumulation_steps": 2},
        {"average": piste.optim.EMA(0.9)},
        {"schedule": piste.optim.StepLR(10)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_updates_with_more_to_do_need_a_plan(options):
    options = {"optimizer": SGD(0.05), **options}
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), **options)
    assert trainer.plan((1, 1, 3, 3)).steps[-1].kernel == "linear+bias"


def test_times_are_those_of_the_plans_steps():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 16)
    plain, timed = trainer_for(lenet()), trainer_for(lenet())
    net = timed._network.net
    assert net.step_times().steps == []
    net.time_steps(True)
    losses = [timed.step(x, y) for _ in range(3)]
    times = net.step_times()
    assert len(times.steps) == len(timed.plan(x.shape).steps)
    assert min(*times.steps, times.prepare, times.finish, times.update) > 0
    again = net.step_times()
    assert (again.steps, again.prepare, again.finish, again.update) == ([], 0, 0, 0)
    net.time_steps(False)
    losses.append(timed.step(x, y))
    assert net.step_times().steps == []
    assert losses == [plain.step(x, y) for _ in range(4)]


def test_planning_changes_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 32)
    plain, planned = trainer_for(lenet()), trainer_for(lenet())
    for step in range(20):
        planned.plan((step + 1, 1, 28, 28))
        assert plain.step(x, y) == planned.step(x, y)


def test_plans_of_many_batches_come_and_go():
    """More shapes than the cache holds, again and again, and the bits of a fresh trainer."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 30)
    trainer, weights = trainer_for(lenet()), []
    for n in [*range(1, 30), *range(1, 30)]:
        state = trainer.model.state_dict()
        fresh = trainer_for(lenet())
        fresh.model.load_state_dict(state)
        np.testing.assert_array_equal(trainer.predict(x[:n]), fresh.predict(x[:n]))
        trainer.optimizer.momentum = fresh.optimizer.momentum = 0
        assert trainer.step(x[:n], y[:n]) == fresh.step(x[:n], y[:n])
        weights.append(trainer.model.state_dict())
        for name, array in fresh.model.state_dict().items():
            np.testing.assert_array_equal(array, weights[-1][name])


@pytest.mark.parametrize(
    ("shape", "mode", "error", "message"),
    [
        (
            (64, 1, 28, 28),
            "test",
            ValueError,
            "mode: expected 'train', 'evaluate' or 'predict', got",
        ),
        (64, "train", TypeError, "shape: expected that of a batch, such as x.shape, got 64"),
        ((64.0, 784), "train", TypeError, "shape: expected an integer, got float 64.0"),
        ((0, 1, 28, 28), "train", ValueError, "shape: expected an integer from 1 to"),
        ((64,), "train", ValueError, r"shape: expected \(n, features\), \(n, height, width\) or"),
        ((64, 3, 28, 28), "train", ValueError, r"\[0\] expected 1 input channels"),
    ],
)
def test_errors(shape, mode, error, message):
    with pytest.raises(error, match=message):
        trainer_for(lenet()).plan(shape, mode=mode)


def test_a_prediction_that_threads_share_has_several_groups():
    shape = (64, 1, 28, 28)
    plan = trainer_for(lenet()).plan(shape, mode="predict")
    assert (plan.groups, plan.micro_batch) == (4, 16)
    # Little work is for one thread, which takes the whole batch at a time.
    small = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    plan = trainer_for(small).plan(shape, mode="predict")
    assert (plan.groups, plan.micro_batch, plan.threads) == (1, 64, 1)


def test_one_thread_where_there_are_more_is_explained():
    small = trainer_for(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    before = piste.get_num_threads()
    try:
        for threads, said in ((2, "1 thread (little work to share)"), (1, "1 thread")):
            piste.set_num_threads(threads)
            plan = small.plan((64, 1, 28, 28))
            assert (plan.threads, plan.threads_set) == (1, threads)
            assert str(plan).splitlines()[0].endswith(said)
        piste.set_num_threads(2)
        assert str(trainer_for(lenet()).plan((64, 28, 28))).splitlines()[0].endswith(", 2 threads")
    finally:
        piste.set_num_threads(before)


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_batch_of_more_than_any_machine_addresses(mode):
    norm = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2))
    trainer = piste.Trainer(norm, nn.MSELoss(), SGD(0.1))
    message = r"shape: .* at most 2\*\*47 bytes each, .* got \(2147483647, 1, 2000, 2000\) \(c"
    with pytest.raises(ValueError, match=message):
        trainer.plan((2**31 - 1, 1, 2000, 2000), mode=mode)
    assert trainer.plan((2**31 - 1, 1, 28, 28), mode=mode).memory_bytes > 2**20
    with pytest.raises(ValueError, match="shape: expected an integer from 1 to 2147483647"):
        trainer.plan((2**31, 1, 28, 28), mode=mode)


HUGE = """
import resource
import numpy as np, piste
from piste import nn

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
model = nn.Sequential(
    nn.Conv2d(1, 1, 3, padding=1), nn.ConvTranspose2d(1, 1, 3), nn.Conv2d(1, 2, 3, stride=2)
)
trainer = piste.Trainer(model, nn.MSELoss(), piste.optim.SGD(0.1))
shape = 1, 1, 16000, 16000
for mode in "train", "evaluate", "predict":
    print(trainer.plan(shape, mode=mode).memory_bytes)
try:
    trainer.predict(np.broadcast_to(np.uint8(0), shape))
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't bound addresses so")
def test_a_plan_takes_no_memory_by_the_pixel():
    done = subprocess.run(
        [sys.executable, "-c", HUGE], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    *sizes, said = done.stdout.splitlines()
    assert len(sizes) == 3
    assert all(int(size) > 16000**2 * 24 for size in sizes)
    assert re.fullmatch(r"cannot allocate \d{10,} bytes for .*", said)
