"""What "equal" means, in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed, relative to the root mean square of the expected values."""

    of_rms: float

    def check(self, got: npt.ArrayLike, expected: npt.ArrayLike, scale: float = 0.0) -> None:
        """Assert that shapes agree, non-finite values sit alike and errors are small.

        `scale` is the root mean square that the inputs' distribution gives: a floor where the
        values are too few to show it (one sum that happens to cancel has a small one).
        """
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
        if expected.size == 0:
            return
        got, expected = got.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(got[~finite], expected[~finite])
        if not finite.any():
            return
        rms = max(float(np.sqrt(np.mean(expected[finite] ** 2))), scale) or 1.0
        error = np.abs(got[finite] - expected[finite]).max() / rms
        assert error <= self.of_rms, f"error {error:.3g} of RMS exceeds {self.of_rms:.3g}"


DIRECT = {np.dtype(np.float32): Tolerance(5e-6), np.dtype(np.float64): Tolerance(1e-12)}
"""Sums in the arithmetic of the dtype."""

WINOGRAD = {np.dtype(np.float32): Tolerance(3e-5), np.dtype(np.float64): Tolerance(1e-12)}
"""3x3 convolutions in transformed tiles."""

CENTRAL_DIFFERENCE = Tolerance(1e-6)
"""Analytic float64 gradients against central differences."""
