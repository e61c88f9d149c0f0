"""The same bits on any number of threads, and every instruction set on whole networks."""

import os
import subprocess
import sys

import numpy as np
import piste
import pytest
from piste import _core, nn
from piste.optim import SGD


def lenet(dtype):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2, dtype=dtype), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, dtype=dtype), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 30, dtype=dtype), nn.ReLU(), nn.Dropout(0.3), nn.Linear(30, 10, dtype=dtype),
    )  # fmt: skip


def block(channels, filters, stride, dtype):
    body = nn.Sequential(
        nn.Conv2d(channels, filters, 3, stride, 1, bias=False, dtype=dtype),
        nn.BatchNorm2d(filters, dtype=dtype), nn.ReLU(),
        nn.Conv2d(filters, filters, 3, 1, 1, bias=False, dtype=dtype),
        nn.BatchNorm2d(filters, dtype=dtype),
    )  # fmt: skip
    shortcut = nn.Conv2d(channels, filters, 1, stride, dtype=dtype) if stride > 1 else None
    return nn.Residual(body, shortcut)


def resnet(dtype):
    return nn.Sequential(
        nn.Conv2d(1, 9, 3, padding=1, bias=False, dtype=dtype), nn.BatchNorm2d(9, dtype=dtype),
        nn.ReLU(), block(9, 9, 1, dtype), nn.ReLU(), block(9, 18, 2, dtype), nn.SiLU(),
        nn.Dropout(0.2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(18, 10, dtype=dtype),
    )  # fmt: skip


def depthwise(dtype):
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, dtype=dtype), nn.Hardtanh(-2, 2),
        nn.Conv2d(12, 12, 3, padding="same", groups=12, dtype=dtype), nn.LeakyReLU(0.1),
        nn.Conv2d(12, 20, 1, dtype=dtype), nn.Tanh(), nn.Conv2d(20, 8, 2, dilation=2, dtype=dtype),
        nn.Sigmoid(), nn.Flatten(), nn.Linear(8 * 25, 10, dtype=dtype),
    )  # fmt: skip


def norms(dtype):
    up = nn.Sequential(
        nn.MaxPool2d(2), nn.ConvTranspose2d(6, 7, 2, 2, dtype=dtype), nn.LayerNorm(8, dtype=dtype)
    )
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, 2, 1, dtype=dtype), nn.GroupNorm(3, 6, dtype=dtype),
        nn.PReLU(6, dtype=dtype), nn.Concat(nn.Conv2d(6, 5, 1, dtype=dtype), up),
        nn.LocalResponseNorm(3, 0.1), nn.InstanceNorm2d(12, affine=True, dtype=dtype),
        nn.AdaptiveMaxPool2d(3), nn.Flatten(2), nn.Conv1d(12, 8, 3, dtype=dtype), nn.Softmax(-1),
        # What a softmax puts out differs little: with a small eps all rounding errors would grow.
        nn.Flatten(), nn.LayerNorm(56, 0.1, dtype=dtype), nn.Linear(56, 10, dtype=dtype),
    )  # fmt: skip


NETWORKS = {"lenet": lenet, "resnet": resnet, "depthwise": depthwise, "norms": norms}
RNG = np.random.default_rng(5)
X = RNG.integers(0, 256, (83, 16, 16), dtype=np.uint8)
Y = RNG.integers(0, 10, 83)


def train(name, dtype, batch_size=19):
    """Everything that training leaves: weights, statistics, momentum, losses, outputs."""
    nn.manual_seed(1)
    trainer = piste.Trainer(
        NETWORKS[name](dtype), nn.CrossEntropyLoss(label_smoothing=0.1),
        SGD(0.05, 0.9, weight_decay=1e-3, nesterov=True), seed=2,
    )  # fmt: skip
    history = trainer.fit(X, Y, epochs=2, batch_size=batch_size, validation_data=(X, Y))
    arrays = {**trainer.model.state_dict(), "outputs": trainer.predict(X)}
    arrays |= {f"momentum {i}": b for i, b in enumerate(trainer._state.buffers)}
    return arrays | {"losses": np.array([history.loss, history.val_loss])}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_size", [1, 19, "full"])
def test_the_same_bits_on_1_to_8_threads(name, dtype, batch_size):
    if name == "resnet" and batch_size == 1:
        batch_size = 2
    before = piste.get_num_threads()
    try:
        results = []
        for threads in range(1, 9):
            piste.set_num_threads(threads)
            results.append(train(name, dtype, batch_size))
    finally:
        piste.set_num_threads(before)
    for result in results[1:]:
        for key, array in results[0].items():
            np.testing.assert_array_equal(result[key], array, err_msg=key)


def in_process(code, *arguments, **environment):
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "avx2x2", "neon"])
def test_every_isa_trains_whole_networks(isa, tmp_path):
    if isa not in _core.available_isas():
        pytest.skip(f"{isa} is not built, or this CPU does not run it")
    code = (
        "import sys, numpy as np, test_same_bits as t\n"
        "from piste import _core\n"
        "assert _core.active_isa() == sys.argv[1]\n"
        "for name in t.NETWORKS:\n"
        "    for dtype in ('f4', 'f8'):\n"
        "        np.savez(f'{sys.argv[2]}/{name}-{dtype}.npz', **t.train(name, dtype))\n"
    )
    result = in_process(code, isa, str(tmp_path), PISTE_ISA=isa)
    assert result.returncode == 0, result.stderr
    for name in NETWORKS:
        for dtype, tolerance in (("f4", 2e-3), ("f8", 1e-10)):
            expected = train(name, dtype)
            with np.load(tmp_path / f"{name}-{dtype}.npz") as got:
                for key, array in expected.items():
                    scale = max(1e-3, float(np.abs(array).max()))
                    error = np.abs(got[key] - array).max() / scale
                    assert error < tolerance, f"{name} {dtype} {key}: {error}"


@pytest.mark.parametrize("isa", ["mmx", "AVX2", "avx2 "])
def test_an_unknown_isa_lists_those_available(isa):
    result = in_process("import piste; piste.show_config()", PISTE_ISA=isa)
    assert result.returncode == 1
    available = ", ".join(_core.available_isas())
    message = f"PISTE_ISA={isa} is unknown or cannot run on this CPU; available: {available}"
    assert message in result.stderr


def test_an_empty_isa_counts_as_none():
    result = in_process("from piste import _core; print(_core.active_isa())", PISTE_ISA="")
    assert result.stdout.strip() in _core.available_isas()


@pytest.mark.parametrize("forced", [False, True])
def test_maps_of_few_channels_run_on_half_vectors_unless_an_isa_is_forced(forced):
    code = (
        "import piste, test_same_bits as t\n"
        "from piste import nn\n"
        "from piste.optim import SGD\n"
        "wide = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Flatten(), nn.Linear(16 * 36, 10))\n"
        "for model, side in ((t.lenet('float32'), 16), (wide, 8)):\n"
        "    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.1))\n"
        "    print(trainer.plan((4, 1, side, side)).isa)\n"
    )
    best = in_process("from piste import _core; print(_core.active_isa())", PISTE_ISA="")
    best = best.stdout.strip()
    result = in_process(code, PISTE_ISA=best if forced else "")
    assert result.returncode == 0, result.stderr
    narrow = "avx2" if best == "avx512" and not forced else best
    assert result.stdout.split() == [narrow, best]
