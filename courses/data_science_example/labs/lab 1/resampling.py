"""The bootstrap, for the labs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Slope of the straight line through points with the least squared error."""
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def bootstrap(x: ArrayLike, y: ArrayLike, statistic: Statistic, draws: int, seed: int) -> NDArray[np.float64]:
    """A statistic of as many draws from points, each draw as large as the sample and with replacement."""
    rng, x, y = np.random.default_rng(seed), np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    picks = (rng.integers(len(x), size=len(x)) for _ in range(draws))
    return np.array([statistic(x[pick], y[pick]) for pick in picks])
