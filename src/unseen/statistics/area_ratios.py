"""Ratios of means, generated over real: test and interval on the log scale.

Vectorised over classes. NumPy and SciPy alone.
Source: delta method, with the degrees of freedom of Welch (Biometrika 34, 1947).
"""

import dataclasses

import numpy as np
import scipy.special
from jaxtyping import Float64

from unseen.statistics.effective import MeanArea

_Classes = Float64[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True, eq=False)
class LogRatio:
    """Log ratios with their standard errors; NaN where a side says nothing.

    Attributes:
        value: log of generated over real.
        error: its standard error.
        freedom: degrees of freedom of the error.
    """

    value: _Classes
    error: _Classes
    freedom: _Classes

    @classmethod
    def of_means(cls, real: MeanArea, generated: MeanArea) -> "LogRatio":
        """Of means, by the delta method."""
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [side.variance / side.mean**2 for side in (real, generated)]
            value = np.log(generated.mean / real.mean)
        return cls._of(value, parts, real, generated)

    @classmethod
    def of_spreads(
        cls, real: MeanArea, generated: MeanArea, images: tuple[float, float]
    ) -> "LogRatio":
        """Of standard deviations, from the mean squares of both sides.

        Few images with a large area decide a spread, and a small sample rarely has them: a side
        is taken to vary at least as much, relative to its own spread, as both sides do together.

        Args:
            real: squared distances from the mean area.
            generated: the same.
            images: effective number of images of either side.
        """
        sides = (real, generated)
        with np.errstate(divide="ignore", invalid="ignore"):
            single = [
                side.variance / side.mean**2 * size
                for side, size in zip(sides, images, strict=True)
            ]
            together = (images[0] * single[0] + images[1] * single[1]) / sum(images)
            value = 0.5 * np.log(generated.mean / real.mean)
        parts = [
            0.25 * np.maximum(own, together) / size
            for own, size in zip(single, images, strict=True)
        ]
        return cls._of(value, parts, real, generated)

    @classmethod
    def of_logs(cls, real: MeanArea, generated: MeanArea) -> "LogRatio":
        """Of geometric means, from means of logarithms."""
        value = generated.mean - real.mean
        return cls._of(value, [real.variance, generated.variance], real, generated)

    @classmethod
    def _of(
        cls, value: _Classes, parts: list[_Classes], real: MeanArea, generated: MeanArea
    ) -> "LogRatio":
        value = np.where(np.isfinite(value), value, np.nan)
        variance = parts[0] + parts[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = parts[0] ** 2 / real.freedom + parts[1] ** 2 / generated.freedom
            freedom = variance**2 / weights
        return cls(value, np.sqrt(variance), np.where(weights > 0.0, freedom, np.inf))

    @property
    def known(self) -> np.ndarray:
        """Where there is a ratio and an error."""
        return np.asarray(np.isfinite(self.value) & np.isfinite(self.error))

    def tail(self, ratio: float) -> _Classes:
        """One-sided p-value of "at least this ratio"."""
        apart = self.value - np.log(ratio)
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = scipy.special.stdtr(self.freedom, apart / self.error)
        # Areas that never vary: the ratio is known.
        certain = np.where(apart == 0.0, 0.5, np.where(apart > 0.0, 1.0, 0.0))
        return np.asarray(np.where(self.error == 0.0, certain, tail))

    def p_value(self) -> _Classes:
        """Two-sided, of ratio one."""
        tail = self.tail(1.0)
        return np.asarray(2.0 * np.minimum(tail, 1.0 - tail))

    def interval(self, alpha: float) -> tuple[_Classes, _Classes]:
        """Ratios that the two-sided test at level alpha keeps."""
        reach = self._critical(alpha) * self.error
        with np.errstate(over="ignore"):  # an end that no number holds is infinite
            return np.exp(self.value - reach), np.exp(self.value + reach)

    def detectable_drop(self, alpha: float, power: float) -> _Classes:
        """Relative fall that is called at level alpha with this power."""
        reach = self._critical(alpha) + scipy.special.ndtri(power)
        return np.asarray(-np.expm1(-reach * self.error))

    def _critical(self, alpha: float) -> _Classes:
        """Errors from the ratio at which a two-sided test at level alpha begins to reject."""
        return np.asarray(-scipy.special.stdtrit(self.freedom, alpha / 2.0))
