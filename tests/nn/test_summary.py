import numpy as np
import pytest
from piste import nn


def test_rows_are_layers_with_shapes_parameters_flops_and_bytes():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False))),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(8, 2, 2, 2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    table = model.summary((3, 4, 4))
    assert [(row.name, row.kind, row.output_shape, row.parameters) for row in table.rows] == [
        ("0", "Conv2d", (8, 4, 4), 224),
        ("1", "ReLU", (8, 4, 4), 0),
        ("2.body.0", "Conv2d", (8, 4, 4), 144),
        ("2", "Residual", (8, 4, 4), 0),
        ("3", "MaxPool2d", (8, 2, 2), 0),
        ("4", "ConvTranspose2d", (2, 4, 4), 66),
        ("5", "Flatten", (32,), 0),
        ("6", "Linear", (5,), 165),
    ]
    flops = [row.flops for row in table.rows]
    assert flops[0] == 2 * 8 * 16 * 27
    assert flops[2] == 2 * 8 * 16 * 18
    assert flops[4] == 8 * 4 * 4
    assert flops[5] == 2 * 8 * 4 * 2 * 4
    assert flops[7] == 2 * 32 * 5
    assert table.rows[0].bytes == 4 * (48 + 128 + 224)
    assert table.rows[3].bytes == 4 * (128 + 128 + 128)
    assert table.parameters == sum(array.size for array in model.parameters())
    assert table.flops == sum(flops)


def test_text_is_a_table_with_totals():
    lines = str(nn.summary(nn.Linear(1000, 10, dtype=np.float64), (1000,))).splitlines()
    assert lines[0].split() == ["layer", "output", "shape", "parameters", "flops", "bytes"]
    assert lines[2].split() == ["Linear", "(10,)", "10,010", "20,000", "88,160"]
    assert lines[-1].split() == ["total", "10,010", "20,000", "88,160"]


def test_series_volumes_and_concat():
    rows = nn.summary(nn.Concat(nn.Conv1d(2, 3, 3), nn.AvgPool1d(3, 1)), (2, 9)).rows
    assert [(row.kind, row.output_shape) for row in rows] == [
        ("Conv1d", (3, 7)), ("AvgPool1d", (2, 7)), ("Concat", (5, 7)),
    ]  # fmt: skip
    assert rows[1].flops == 2 * 7 * 3
    assert nn.summary(nn.MaxPool3d(2), (1, 4, 4, 4)).rows[0].flops == 8 * 8
    assert nn.summary(nn.Sequential(), (3,)).rows == ()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"^\[0\] expected 3 input channels"):
        nn.summary(nn.Sequential(nn.Conv2d(3, 1, 1)), (2, 4, 4))
    with pytest.raises(TypeError, match="input_shape: expected an integer, got float"):
        nn.summary(nn.ReLU(), (2.0,))
