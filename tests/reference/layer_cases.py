"""Every layer with arguments, an input's shape, and other values for each of its options."""

import numpy as np

IMAGES, SERIES, VOLUMES, ROWS = (3, 4, 7, 6), (3, 4, 9), (2, 4, 4, 5, 4), (5, 6)
SPATIAL = {1: SERIES, 2: IMAGES, 3: VOLUMES}

INPLACE = {"inplace": [True]}
# Name: (arguments, shape of the input, {option: other values}).
CASES = {
    **{
        name: ({}, ROWS, INPLACE)
        for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid")
    },
    **{
        name: ({}, ROWS, {})
        for name in ("Sigmoid", "Tanh", "Softsign", "Tanhshrink", "LogSigmoid", "Identity")
    },
    "LeakyReLU": ({}, ROWS, {"negative_slope": [0.3, 1, np.float32(0.5)], **INPLACE}),
    "ELU": ({}, ROWS, {"alpha": [0.3], **INPLACE}),
    "CELU": ({}, ROWS, {"alpha": [0.3], **INPLACE}),
    "Hardtanh": ({}, ROWS, {"min_val": [-0.2], "max_val": [0.3], **INPLACE}),
    "Threshold": (
        {"threshold": 0.1, "value": -1},
        ROWS,
        {"threshold": [0.5], "value": [2], **INPLACE},
    ),
    "Softplus": ({}, ROWS, {"beta": [3], "threshold": [1.5]}),
    "GELU": ({}, ROWS, {"approximate": ["tanh"]}),
    "PReLU": ({}, IMAGES, {"num_parameters": [4], "init": [0.5]}),
    "Softmax": ({}, IMAGES, {"dim": [2, -1]}),
    "LogSoftmax": ({"dim": -1}, IMAGES, {"dim": [1, None]}),
    "Softmax2d": ({}, IMAGES, {}),
    "Linear": ({"in_features": 6, "out_features": 3}, ROWS,
               {"in_features": [5], "out_features": [4]}),
    "Dropout": ({}, ROWS, {"p": [0.2, 0, 1], **INPLACE}),
    **{f"Dropout{n}d": ({}, SPATIAL[n], {"p": [0.2], **INPLACE}) for n in (1, 2, 3)},
    "Flatten": ({}, IMAGES, {"start_dim": [2], "end_dim": [2, -2]}),
    "Unflatten": ({"dim": 1, "unflattened_size": (2, 2)}, (3, 4, 4),
                  {"dim": [2, -1], "unflattened_size": [[4, 1], (2, -1)]}),
    "LocalResponseNorm": ({"size": 2}, IMAGES,
                          {"size": [3], "alpha": [0.5], "beta": [2], "k": [3]}),
    "GroupNorm": ({"num_groups": 2, "num_channels": 4}, IMAGES,
                  {"num_groups": [4], "num_channels": [8], "eps": [0.5], "affine": [False]}),
    "LayerNorm": ({"normalized_shape": 6}, IMAGES,
                  {"normalized_shape": [(7, 6)], "eps": [0.5], "elementwise_affine": [False]}),
}  # fmt: skip
for n, shape in SPATIAL.items():
    window = {"kernel_size": [3, [4] * n], "stride": [1, (2,) * n, None], "padding": [0]}
    sizes = {"in_channels": 4, "out_channels": 4}
    CASES[f"Conv{n}d"] = (
        {**sizes, "kernel_size": 3, "padding": 1},
        shape,
        {
            "stride": [2, [3] * n],
            "padding": [0, "same", (2,) * n, [[1, 2]] * n],
            "dilation": [2],
            "padding_mode": ["reflect", "circular"],
            "algorithm": ["direct", "auto"],
            "in_channels": [8],
            "out_channels": [8],
            "kernel_size": [2],
            "groups": [2],
        },
    )
    CASES[f"ConvTranspose{n}d"] = (
        {**sizes, "kernel_size": 3, "padding": 1, "stride": 2},
        shape,
        {
            "stride": [1, [3] * n],
            "padding": [0],
            "output_padding": [1],
            "dilation": [2],
            "padding_mode": [],  # there is one
            "in_channels": [8],
            "out_channels": [8],
            "kernel_size": [2],
            "groups": [2],
        },
    )
    CASES[f"MaxPool{n}d"] = (
        {"kernel_size": 2, "stride": 3, "padding": 1},
        shape,
        {**window, "dilation": [2], "ceil_mode": [True], "return_indices": [True]},
    )
    CASES[f"AvgPool{n}d"] = (
        {"kernel_size": 2, "stride": 3, "padding": 1},
        shape,
        {**window, "ceil_mode": [True], "count_include_pad": [False]}
        | ({"divisor_override": [3]} if n > 1 else {}),
    )
    outputs = {"output_size": [3, [2] * n, (None,) * n]}
    CASES[f"AdaptiveAvgPool{n}d"] = ({"output_size": 2}, shape, outputs)
    CASES[f"AdaptiveMaxPool{n}d"] = (
        {"output_size": 2},
        shape,
        {**outputs, "return_indices": [True]},
    )
    norm = {
        "num_features": [8],
        "eps": [0.5],
        "momentum": [0.7, 1, None],
        "affine": [False],
        "track_running_stats": [False],
    }
    CASES[f"BatchNorm{n}d"] = ({"num_features": 4}, shape, norm)
    CASES[f"InstanceNorm{n}d"] = (
        {"num_features": 4, "affine": True, "track_running_stats": True},
        shape,
        norm,
    )
