"""A Gaussian process over parameters of any kind, in NumPy alone.

The distance of two configurations is taken parameter by parameter: numbers by how far apart they
are on their scale, choices by whether they differ, and a parameter that only one of them has as
far apart as can be. So conditional spaces and spaces of choices alone need no encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

__all__ = ["GaussianProcess", "Hyperparameters", "differences", "fit_hyperparameters"]

_Array = NDArray[np.float64]

_SQRT_5 = 5.0**0.5


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a fit finds.

    Attributes:
        inverse_lengths: How much each parameter matters, shape ``(d,)``.
        noise: Variance of the noise, of targets with variance 1.
    """

    inverse_lengths: _Array
    noise: float


def differences(a: _Array, b: _Array, is_choice: NDArray[np.bool_]) -> _Array:
    """Squared distances by parameter.

    Args:
        a: Configurations, shape ``(n, d)``: numbers from 0 to 1, choices as their index, NaN for
            a parameter that a configuration does not have.
        b: Others, shape ``(m, d)``.
        is_choice: Which parameters are choices, shape ``(d,)``.

    Returns:
        Shape ``(d, n, m)``, from 0 to 1.
    """
    absent_a, absent_b = np.isnan(a.T)[:, :, None], np.isnan(b.T)[:, None, :]
    # Absent is a further choice; of a number, a place beside the middle of its scale. Both are
    # places in a space, as a kernel needs it.
    fill = np.where(is_choice, -1.0, 0.5)
    gap = np.where(np.isnan(a), fill, a).T[:, :, None] - np.where(np.isnan(b), fill, b).T[:, None]
    squared = gap**2
    squared[is_choice] = squared[is_choice] > 0.25
    squared += np.where(is_choice[:, None, None], 0.0, 0.75) * (absent_a ^ absent_b)
    return np.asarray(squared)


def fit_hyperparameters(squared: _Array, targets: _Array) -> Hyperparameters:
    """The hyperparameters of the largest marginal likelihood, with weak priors.

    Args:
        squared: From ``differences``, shape ``(d, n, n)``.
        targets: Of mean 0 and variance 1, shape ``(n,)``.
    """
    dimensions, count = squared.shape[0], len(targets)
    flat = squared.reshape(dimensions, -1)
    start = np.append(np.full(dimensions, np.log(1.0 / max(dimensions, 4) ** 0.5)), np.log(1e-3))

    def loss(logs: _Array) -> tuple[float, _Array]:
        weights, noise = np.exp(2 * logs[:-1]), np.exp(logs[-1])
        distance = np.sqrt(weights @ flat + 1e-12).reshape(count, count)
        decay = np.exp(-_SQRT_5 * distance)
        kernel = (1 + _SQRT_5 * distance + 5 / 3 * distance**2) * decay
        try:
            factor = linalg.cho_factor(kernel + (noise + 1e-6) * np.eye(count), lower=True)
        except linalg.LinAlgError:
            return 1e10, np.zeros_like(logs)
        inverse = linalg.cho_solve(factor, np.eye(count))
        solved = inverse @ targets
        outer = inverse - np.outer(solved, solved)
        # dk/d(d²) of the Matérn kernel with ν = 5/2, where d² is a weighted sum.
        slope = -5 / 6 * (1 + _SQRT_5 * distance) * decay
        by_weight = 0.5 * (flat @ (outer * slope).ravel()) * 2 * weights
        by_noise = 0.5 * np.trace(outer) * noise
        value = 0.5 * targets @ solved + np.log(np.diag(factor[0])).sum()
        away = logs - start
        spread = np.append(np.full(dimensions, 1.5), 2.0) ** 2
        prior = 0.5 * float((away**2 / spread).sum())
        return float(value) + prior, np.append(by_weight, by_noise) + away / spread

    bounds = [(-5.0, 2.5)] * dimensions + [(np.log(1e-6), np.log(0.5))]
    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30}
    )
    return Hyperparameters(np.exp(found.x[:-1]), float(np.exp(found.x[-1])))


class GaussianProcess:
    """A fitted process: a mean and a deviation for any configuration.

    Args:
        points: As in ``differences``, shape ``(n, d)``.
        targets: Shape ``(n,)``, in any unit.
        is_choice: Which parameters are choices, shape ``(d,)``.
        hyperparameters: From ``fit_hyperparameters``.
    """

    def __init__(
        self,
        points: _Array,
        targets: _Array,
        is_choice: NDArray[np.bool_],
        hyperparameters: Hyperparameters,
    ) -> None:
        self._points, self._is_choice, self._found = points, is_choice, hyperparameters
        self._mean = float(targets.mean())
        self._scale = float(targets.std()) or 1.0
        kernel = self._kernel(differences(points, points, is_choice))
        self._factor = _factor(kernel, hyperparameters.noise + 1e-6)
        normed = (targets - self._mean) / self._scale
        self._solved = linalg.cho_solve((self._factor, True), normed)

    def predict(self, squared: _Array) -> tuple[_Array, _Array]:
        """Mean and deviation, each of shape ``(m,)``, in the targets' unit.

        Args:
            squared: ``differences`` of the process's points and ``m`` others, ``(d, n, m)``.
        """
        kernel = self._kernel(squared)
        mean = self._mean + self._scale * (self._solved @ kernel)
        half = linalg.solve_triangular(self._factor, kernel, lower=True)
        variance = np.maximum(1.0 - (half**2).sum(axis=0), 1e-8)
        return mean, self._scale * np.sqrt(variance)

    def _kernel(self, squared: _Array) -> _Array:
        distance = np.sqrt(np.tensordot(self._found.inverse_lengths**2, squared, axes=1) + 1e-12)
        scaled = _SQRT_5 * distance
        return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def _factor(kernel: _Array, noise: float) -> _Array:
    """The lower Cholesky factor, with as much noise more as rounding asks for."""
    while True:
        try:
            return np.asarray(linalg.cholesky(kernel + noise * np.eye(len(kernel)), lower=True))
        except linalg.LinAlgError:
            noise *= 10
