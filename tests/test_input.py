"""Images as they come: bytes, floats of either size, any strides and layout, memory maps."""

import ctypes
import mmap
import os
import resource

import numpy as np
import piste
import pytest
from piste import functional as F
from piste import nn
from piste.optim import SGD

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (45, 3, 9, 8), dtype=np.uint8)
FLOATS = RNG.standard_normal((45, 3, 9, 8)).astype(np.float32)
LABELS = RNG.integers(0, 5, 45)


def trainer_for(dtype=np.float32):
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 7, 3, dtype=dtype), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(63, 5, dtype=dtype),
    )  # fmt: skip
    return piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.05, 0.9), seed=1)


def results(x, dtype=np.float32, **layout):
    """All that training leaves, through every entry point."""
    trainer = trainer_for(dtype)
    loss = trainer.step(x[:7], LABELS[:7], **layout)
    history = trainer.fit(x, LABELS, epochs=2, batch_size=16, validation_data=(x, LABELS), **layout)
    return {
        **trainer.model.state_dict(),
        "losses": np.array([loss, *history.loss, *history.val_loss]),
        "evaluated": np.array(trainer.evaluate(x, LABELS, **layout)),
        "outputs": trainer.predict(x, **layout),
    }


def check_same(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def padded(x, axis):
    """The same values inside a larger array."""
    wide = np.zeros([n + 3 * (i == axis) for i, n in enumerate(x.shape)], x.dtype)
    view = np.moveaxis(np.moveaxis(wide, axis, 0)[1 : 1 + x.shape[axis]], 0, axis)
    view[...] = x
    return view


def misaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = np.ndarray(x.shape, x.dtype, memory.data, offset=1)
    view[...] = x
    return view


def reversed_view(x):
    return np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1]


VIEWS = {
    "samples apart": lambda x: padded(x, 0),
    "channels apart": lambda x: padded(x, 1),
    "rows apart": lambda x: padded(x, 2),
    "pixels apart": lambda x: padded(x, 3),
    "misaligned": misaligned,
    "negative strides": reversed_view,
    "every other sample": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "Fortran order": np.asfortranarray,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}


@pytest.mark.parametrize(
    "images", [BYTES, FLOATS, FLOATS.astype(np.float64)], ids=lambda x: str(x.dtype)
)
@pytest.mark.parametrize("view", VIEWS)
def test_strides_change_no_bit(view, images):
    check_same(results(VIEWS[view](images)), results(images))


FIRST_LAYERS = {
    "linear": lambda n, dtype: [],
    "dropout": lambda n, dtype: [nn.Dropout(0.3)],
    "residual": lambda n, dtype: [nn.Residual(nn.Linear(n, n, dtype=dtype))],
    "residual of a norm": lambda n, dtype: [
        nn.Residual(nn.Sequential(nn.Linear(n, n, dtype=dtype), nn.BatchNorm1d(n, dtype=dtype)))
    ],
    "branches": lambda n, dtype: [
        nn.Concat(
            nn.Linear(n, n - 3, dtype=dtype),
            nn.Sequential(nn.Dropout(0.2), nn.Linear(n, 3, dtype=dtype)),
        )
    ],
}


def between_unreadable_pages(x, at_end):
    """A read-only copy of the array that ends, or begins, where memory may not be touched."""
    page = mmap.PAGESIZE
    inner = -(-x.nbytes // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = page + (inner - x.nbytes if at_end else 0)
    copy = np.ndarray(x.shape, x.dtype, memory, offset)
    copy[...] = x
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, size, allowed in [
        (0, page, 0), (page, inner, mmap.PROT_READ), (page + inner, page, 0),
    ]:  # fmt: skip
        assert protect(first + begin, size, allowed) == 0
    return copy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (32,), (1, 5, 7), (16, 1, 1)])
@pytest.mark.parametrize("first", FIRST_LAYERS)
def test_batches_read_where_they_lie(first, shape, dtype):
    """Linear layers do, if the samples lie together: the same bits, and nothing around them."""
    x, n = RNG.standard_normal((45, *shape)).astype(dtype), int(np.prod(shape))

    def results(x):
        nn.manual_seed(0)
        layers = FIRST_LAYERS[first](n, dtype)
        model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(n, 5, dtype=dtype))
        trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.05, 0.9), seed=1)
        loss = trainer.step(x[38:], LABELS[38:])
        losses = [
            value
            for shuffle in (False, True)
            for value in trainer.fit(x, LABELS, batch_size=16, shuffle=shuffle).loss
        ]
        return {
            **model.state_dict(),
            "losses": np.array([loss, *losses, *trainer.evaluate(x, LABELS)]),
            "outputs": trainer.predict(x),
        }

    expected = results(np.repeat(x, 2, axis=0)[::2])
    for at_end in (False, True):
        check_same(results(between_unreadable_pages(x, at_end)), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("view", ["channels apart", "rows apart", "negative strides", "misaligned"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (2, 3, 4, 5, 3)])
def test_samples_of_any_axes_are_read(shape, view, dtype):
    x = RNG.integers(0, 256, shape).astype(dtype)
    expected = x / (255 if dtype == np.uint8 else 1)
    np.testing.assert_allclose(nn.Identity()(VIEWS[view](x)), expected, rtol=1e-6)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    trainer = piste.Trainer(nn.Identity(), nn.MSELoss(), SGD(0.1))
    np.testing.assert_allclose(trainer.predict(last, layout="NHWC"), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_are_converted_as_they_are_read(dtype):
    expected = results(FLOATS.astype(dtype), dtype)
    for other in (np.float32, np.float64):
        check_same(results(FLOATS.astype(other), dtype), expected)
    scaled = (BYTES.astype(dtype) * dtype(1 / 255)).astype(dtype)
    check_same(results(BYTES, dtype), results(scaled, dtype))


@pytest.mark.parametrize(
    "images", [BYTES, FLOATS, FLOATS.astype(np.float64)], ids=lambda x: str(x.dtype)
)
def test_channels_last(images):
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    check_same(results(last, layout="NHWC"), results(images))
    check_same(results(padded(last, 2), layout="NHWC"), results(images))


def test_layout_does_not_touch_what_has_no_channels():
    trainer = piste.Trainer(
        nn.Sequential(nn.Flatten(), nn.Linear(72, 5)), nn.CrossEntropyLoss(), SGD(0.1)
    )
    grey = FLOATS[:, 0]
    np.testing.assert_array_equal(trainer.predict(grey, layout="NHWC"), trainer.predict(grey))
    rows = np.ascontiguousarray(grey.reshape(45, 72))
    np.testing.assert_array_equal(trainer.predict(rows, layout="NHWC"), trainer.predict(rows))


def test_a_training_step_by_hand_reads_strides_too():
    expected, strided = trainer_for().model, trainer_for().model
    for model, x in ((expected, FLOATS), (strided, padded(FLOATS, 3))):
        model.backward(np.ones_like(model.forward(x)))
    check_same(strided.gradients(), expected.gradients())


@pytest.mark.parametrize(
    "images", [BYTES, FLOATS, FLOATS.astype(np.float64)], ids=lambda x: str(x.dtype)
)
def test_memory_maps(images, tmp_path):
    file = np.memmap(tmp_path / "x", images.dtype, "w+", shape=images.shape)
    file[...] = images
    check_same(results(np.memmap(tmp_path / "x", images.dtype, "r", shape=images.shape)),
               results(images))  # fmt: skip
    np.save(tmp_path / "x.npy", images)
    check_same(results(np.load(tmp_path / "x.npy", mmap_mode="r")), results(images))


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_DATA"), reason="needs a limit on memory")
@pytest.mark.parametrize(("dtype", "layout"), [(np.uint8, "NCHW"), (np.float64, "NHWC")])
def test_a_file_larger_than_memory(dtype, layout, tmp_path):
    """A file of holes, of which only what a batch reads takes memory: of that there is 1 GB."""
    n = (4 << 30) // (3 * 9 * 8 * np.dtype(dtype).itemsize)
    (tmp_path / "x").touch()
    os.truncate(tmp_path / "x", n * 3 * 9 * 8 * np.dtype(dtype).itemsize)
    shape = (n, 3, 9, 8) if layout == "NCHW" else (n, 9, 8, 3)
    x = np.memmap(tmp_path / "x", dtype, "r", shape=shape)
    y = np.ones(500, np.int64)
    trainer = trainer_for()
    trainer.step(x[:8], y[:8], layout=layout)  # starts threads, whose stacks count
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, before[1]))
        with pytest.raises(MemoryError):
            np.ones(2 << 30, np.uint8)
        spread = x[:: n // 500][:500]
        trainer.fit(spread, y, epochs=1, batch_size=50, layout=layout)
        assert trainer.evaluate(spread, y, layout=layout)[1] == 1
        assert trainer.predict(x[-5:], layout=layout).shape == (5, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize("dtype", [">f4", "f2", ">f8"])
def test_a_memory_map_is_never_converted_whole(dtype, tmp_path):
    x = np.memmap(tmp_path / "x", dtype, "w+", shape=(4, 3, 9, 8))
    for array in (x, x[1:], np.asarray(x)):
        with pytest.raises(TypeError, match="x: expected a memory map of native float32, float64"):
            trainer_for().predict(array)


def test_errors():
    trainer = trainer_for()
    for call in (
        lambda: trainer.step(BYTES, LABELS, layout="CHWN"),
        lambda: trainer.fit(BYTES, LABELS, layout="CHWN"),
        lambda: trainer.evaluate(BYTES, LABELS, layout="CHWN"),
        lambda: trainer.predict(BYTES, layout="CHWN"),
    ):
        with pytest.raises(ValueError, match="layout: expected 'NCHW' or 'NHWC', got 'CHWN'"):
            call()
    with pytest.raises(ValueError, match=r"\(channels, height, width\), got \(2, 3, 4, 5\)"):
        trainer.predict(np.zeros((1, 2, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"width, channels\), got \(5,\)"):
        trainer.predict(np.zeros(5), layout="NHWC")
    with pytest.raises(ValueError, match=r"\[0\] expected 3 input channels"):
        trainer.predict(BYTES, layout="NHWC")
    with pytest.raises(TypeError, match="x: expected floats or uint8, got int64"):
        trainer.predict(LABELS[:, None])


def test_long_doubles_that_float32_does_not_hold():
    x = FLOATS.astype(np.longdouble)
    x[3, 0, 0, 0] = 1e300
    assert np.isnan(trainer_for().predict(x)[3]).any()
    with pytest.raises(ValueError, match="x: sample 3 holds NaN or infinity"):
        trainer_for().step(x, LABELS)


def test_masks_are_not_dropped():
    trainer = trainer_for()
    masked, weight = np.ma.masked_equal(FLOATS, 0), np.ma.masked_equal(np.ones(45), 0)
    labels = np.ma.masked_equal(LABELS, 3)
    message = "expected an array without a mask, got a masked one"
    for name, call in {
        "x": lambda: trainer.step(masked, LABELS),
        "y": lambda: trainer.fit(FLOATS, labels),
        "sample_weight": lambda: trainer.evaluate(FLOATS, LABELS, weight),
        "input": lambda: F.relu(masked),
        "out": lambda: F.relu(FLOATS, out=masked),
        "bias": lambda: setattr(trainer.model[0], "bias", np.ma.ones(7)),
        "0.bias": lambda: trainer.model.load_state_dict(
            trainer.model.state_dict() | {"0.bias": np.ma.ones(7)}
        ),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: {message}"):
            call()
    assert trainer.steps == 0


def test_other_kinds_of_arrays_are_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4, 3))
    for x in (mapped, np.ones((4, 3), np.float32).view(np.recarray)):
        assert F.relu(x).shape == (4, 3)
