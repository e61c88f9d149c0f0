"""Several threads and processes at once: fork, spawn, calls from many Python threads."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import piste
import pytest
from piste import functional as F
from piste import nn
from piste.optim import SGD

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (150, 8, 8), dtype=np.uint8), RNG.integers(0, 10, 150)


def make_trainer():
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(384, 10),
    )  # fmt: skip
    return piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.05, 0.9))


def trained_weights(_=None):
    trainer = make_trainer()
    trainer.fit(X, Y, epochs=2)
    return trainer.model[5].weight.copy()


def run_in_fork(work):
    """The exit status of `work()` in a child; fails where the child hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child of fork hangs")


@pytest.fixture(params=[1, 2, 8])
def threads(request):
    before = piste.get_num_threads()
    piste.set_num_threads(request.param)
    yield request.param
    piste.set_num_threads(before)


def test_fork_after_the_pool_was_used(threads):
    expected = trained_weights()
    F.conv2d(np.ones((8, 3, 32, 32), np.float32), np.ones((4, 3, 3, 3), np.float32))

    def work():
        np.testing.assert_array_equal(trained_weights(), expected)

    assert run_in_fork(work) == 0
    assert run_in_fork(lambda: run_in_fork(work)) == 0  # and again from a child
    np.testing.assert_array_equal(trained_weights(), expected)


def test_fork_in_the_middle_of_training(threads):
    trainer = make_trainer()
    trainer.fit(X, Y, epochs=1)
    expected = make_trainer()
    expected.fit(X, Y, epochs=1)
    assert run_in_fork(lambda: trainer.fit(X, Y, epochs=1)) == 0
    trainer.fit(X, Y, epochs=1)
    expected.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(trainer.model[5].weight, expected.model[5].weight)


def test_fork_while_another_thread_trains(threads):
    trainer = make_trainer()
    stop = threading.Event()

    def train():
        while not stop.is_set():
            trainer.fit(X, Y, epochs=1)

    worker = threading.Thread(target=train)
    worker.start()
    try:
        for _ in range(10):
            # The child has the network as that thread had it, but not the thread.
            assert run_in_fork(lambda: trainer.predict(X)) == 0
    finally:
        stop.set()
        worker.join()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_calls_that_get_no_threads():
    code = (
        "import os, resource, signal, numpy as np, piste\n"
        "from piste import functional as F\n"
        "x = np.ones((192, 192), np.float32)\n"
        "piste.set_num_threads(1)\n"
        "expected = F.linear(x, x)\n"
        "piste.set_num_threads(4)\n"
        "threads = len(os.listdir('/proc/self/task'))\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "hard = resource.getrlimit(resource.RLIMIT_AS)[1]\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (2 << 20), hard))  # no thread's stack\n"
        "for _ in range(20000):\n"
        "    y = F.linear(x, x)\n"
        "assert (y == expected).all()\n"
        "assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()\n"
        "assert len(os.listdir('/proc/self/task')) == threads\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("call", ["trainer.fit(t.X, t.Y)", "F.conv2d(x, w)"])
def test_the_interpreter_ends_while_a_daemon_thread_is_inside_a_call(call):
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    code = (
        "import threading, time, numpy as np, test_processes as t\n"
        "from piste import functional as F\n"
        "x, w = np.ones((64, 3, 32, 32), np.float32), np.ones((4, 3, 3, 3), np.float32)\n"
        "trainer, begun = t.make_trainer(), threading.Event()\n"
        "def work():\n"
        "    while True:\n"
        f"        {call}\n"
        "        begun.set()\n"
        "class EndsSlowly:\n"
        "    def __del__(self, sleep=time.sleep):\n"
        "        sleep(0.5)  # without the GIL, which the thread then asks for\n"
        "ends_slowly = EndsSlowly()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "begun.wait()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    expected = trained_weights()
    # The children of the last two import this file by its name.
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    code = (
        "import multiprocessing, sys, numpy as np, test_processes as t\n"
        "if __name__ == '__main__':\n"
        "    own = t.trained_weights()\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    with context.Pool(2) as pool:\n"
        "        for weights in pool.map(t.trained_weights, range(3)):\n"
        "            np.testing.assert_array_equal(weights, own)\n"
        "    np.save(sys.argv[1], own)\n"
    )
    assert method in multiprocessing.get_all_start_methods()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        script, result = f"{folder}/script.py", f"{folder}/weights.npy"
        with open(script, "w") as file:
            file.write(code)
        subprocess.run(
            [sys.executable, script, result], check=True, timeout=100,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        np.testing.assert_array_equal(np.load(result), expected)


def run_at_once(jobs):
    errors = []

    def guarded(job):
        try:
            job()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


def test_eight_threads_train_a_network_each(threads):
    expected = trained_weights()
    trainers = [make_trainer() for _ in range(8)]
    run_at_once([lambda t=t: t.fit(X, Y, epochs=2) for t in trainers])
    for trainer in trainers:
        np.testing.assert_array_equal(trainer.model[5].weight, expected)


def test_eight_threads_share_one_network():
    trainer = make_trainer()
    trainer.fit(X, Y, epochs=1)
    batches = [X[: 20 + 7 * i] for i in range(8)]
    expected = [trainer.predict(batch) for batch in batches]

    def predict(i):
        for _ in range(20):
            np.testing.assert_array_equal(trainer.predict(batches[i]), expected[i])

    run_at_once([lambda i=i: predict(i) for i in range(8)])


def test_eight_threads_call_functions():
    x = RNG.standard_normal((4, 5, 20, 20)).astype(np.float32)
    weight = RNG.standard_normal((6, 5, 3, 3)).astype(np.float32)
    expected = F.conv2d(x, weight, padding=1)
    grad = RNG.standard_normal(expected.shape).astype(np.float32)
    gradients = F.conv2d_backward(grad, x, weight, padding=1)[:2]

    def work():
        for _ in range(20):
            np.testing.assert_array_equal(F.conv2d(x, weight, padding=1), expected)
            again = F.conv2d_backward(grad, x, weight, padding=1)[:2]
            for a, b in zip(again, gradients, strict=True):
                np.testing.assert_array_equal(a, b)

    run_at_once([work] * 8)


def test_the_number_of_threads_may_change_under_a_call():
    before = piste.get_num_threads()
    expected = trained_weights()
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for n in (1, 8, 3, 16, 2):
                piste.set_num_threads(n)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(20):
            np.testing.assert_array_equal(trained_weights(), expected)
    finally:
        stop.set()
        changer.join()
        piste.set_num_threads(before)


def test_python_goes_on_while_cpp_computes():
    trainer = make_trainer()
    turns, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0.0005)

    counter = threading.Thread(target=count)
    counter.start()
    images = np.repeat(X, 200, axis=0)
    turns[0] = 0
    start = time.perf_counter()
    trainer.model(images)  # one call
    spent, counted = time.perf_counter() - start, turns[0]
    stop.set()
    counter.join()
    assert counted >= 2 or spent < 0.01


def test_the_users_own_denormals_stay(threads):
    tiny = np.float32(1e-40)
    trainer = make_trainer()
    trainer.fit(X, Y, epochs=1)
    trainer.evaluate(X, Y)
    trainer.predict(X)
    trainer.model.backward(np.ones_like(trainer.model.forward(X)))
    F.relu(np.full((64, 64, 64), 1e-40, np.float32))
    assert tiny * np.float32(1) != 0
    assert (np.full(1000, tiny) + np.full(1000, tiny) != 0).all()
    with pytest.raises(ValueError, match="label"):
        trainer.step(X, np.full(len(X), 99))
    assert (np.full(1000, tiny) * np.float32(0.5) != 0).all()
