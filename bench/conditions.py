"""The conditions of a comparison, the same for every system: CPUs, threads, instruction set."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path

ISAS = ("baseline", "avx2")
LIMITS = {  # variables and their values for each of ISAS
    "PISTE_ISA": ISAS,
    "ONEDNN_MAX_CPU_ISA": ("SSE41", "AVX2"),  # PyTorch's convolutions
    "ATEN_CPU_CAPABILITY": ("default", "avx2"),  # its loops, and what torch.compile writes
    "MKL_ENABLE_INSTRUCTIONS": ("SSE4_2", "AVX2"),  # its products, on Intel's CPUs
    "XLA_FLAGS": ("--xla_cpu_max_isa=SSE4_2", "--xla_cpu_max_isa=AVX2"),  # JAX
    "OPENBLAS_CORETYPE": ("NEHALEM", "HASWELL"),  # scikit-learn's and MLX's products
    "NPY_DISABLE_CPU_FEATURES": ("X86_V3 X86_V4 AVX512_ICL", "X86_V4 AVX512_ICL"),  # NumPy's loops
}
UNLIMITED = ("onnxruntime",)  # has no such variable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `hold` takes."""
    parser.add_argument("--threads", type=int, metavar="N", default=os.cpu_count() or 1)
    parser.add_argument(
        "--isa",
        choices=ISAS,
        help="hold every system to one instruction set; those that cannot be held are left out",
    )


def hold(options: argparse.Namespace) -> None:
    """Set CPUs and instruction set of this process, before it starts the systems in others."""
    if options.threads < 1:
        raise SystemExit("--threads: expected at least 1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    os.environ.pop("OPENBLAS_CORETYPE", None)
    if options.isa:
        which = ISAS.index(options.isa)
        os.environ |= {variable: values[which] for variable, values in LIMITS.items()}


def machine() -> str:
    """The CPU's name, on Linux with its generation, and how many this process may use."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        rows = (row.partition(":") for row in information.read_text().splitlines())
        first = {key.strip(): value.strip() for key, _, value in reversed([*rows])}
        name = first.get("model name", name)
        if "cpu family" in first:
            name += f" (family {first['cpu family']}, model {first.get('model')})"
    return f"{name}, {os.cpu_count()} CPUs"


def title(options: argparse.Namespace) -> str:
    """Machine, threads, the limit if there is one, and the date."""
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    held = f", every system held to {options.isa}" if options.isa else ""
    return f"{machine()}, {threads}{held}, {datetime.date.today()}"
