"""Fréchet distance between two samples of per-image class areas, and what each class adds to it.

NumPy and SciPy alone: no images, no files, no torch. Error bars live in `inference`.
Source: Dowson and Landau, Journal of Multivariate Analysis 12, 1982 (closed form); Gelbrich,
Mathematische Nachrichten 147, 1990 (the optimal coupling where a covariance is singular).
"""

import dataclasses

import numpy as np
import scipy.linalg
from jaxtyping import Float64, Int64

from unseen.statistics.design import INDEPENDENT, Design
from unseen.statistics.grams import Gram
from unseen.statistics.samples import check_samples

# A pivot below this share of the largest variance is rounding: areas are whole pixels, so one pixel
# of a 512 × 512 map in one image of 100,000 is still 1e-8 of a variance of 100 percent².
_RANK_TOLERANCE = 1e-13
# A singular value of aᵀb below this share of the largest belongs to no common direction: the
# factors come from eigendecompositions, which are exact to some 1e-15 of the largest eigenvalue.
_COUPLED = 1e-12
# A covariance of this share of full rank, or less, goes on with as many columns as its rank: two
# products with a narrow factor cost less than one reduction of the whole from here on.
_NARROW = 0.8


@dataclasses.dataclass(frozen=True)
class FrechetDistance:
    """Squared distance between the Gaussians fitted to two samples, in the sample's unit squared.

    Attributes:
        mean_term: |μ_t − μ_g|².
        covariance_term: tr(Σ_t + Σ_g − 2 (Σ_t Σ_g)^½), never negative.
    """

    mean_term: float
    covariance_term: float

    @property
    def value(self) -> float:
        """The distance: mean_term + covariance_term."""
        return self.mean_term + self.covariance_term

    @classmethod
    def between(cls, first: Gram, second: Gram) -> "FrechetDistance":
        """The distance of two samples of which these are the sums."""
        # The factor of fewer images than classes is narrow: of the side that has fewer.
        if second.weight < min(first.weight, len(first.total)):
            first, second = second, first
        sigma_t, sigma_g = first.covariance, second.covariance
        difference = first.mean - second.mean
        trace = float(np.trace(sigma_t) + np.trace(sigma_g))
        return cls(
            float(difference @ difference), max(trace - 2.0 * fidelity(sigma_t, sigma_g), 0.0)
        )


def frechet_distance(
    real: Float64[np.ndarray, "n k"], generated: Float64[np.ndarray, "m k"]
) -> FrechetDistance:
    """Fréchet distance between Gaussians fitted to two samples.

    d² = |μ_t − μ_g|² + tr(Σ_t + Σ_g − 2 (Σ_t Σ_g)^½), covariances with ddof = 1. On areas in
    percent this is the Fréchet Segmentation Distance.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        generated: the same classes in the same order and unit.

    Returns:
        Both terms, in percent².

    Raises:
        SampleError: fewer than two rows on either side, other columns, or a value not finite.

    >>> real = np.array([[3.0], [1.0]])  # mean 2, variance 2
    >>> generated = np.array([[5.0], [1.0]])  # mean 3, variance 8
    >>> distance = frechet_distance(real, generated)
    >>> round(distance.mean_term, 6), round(distance.covariance_term, 6)  # (2 − 3)², (√2 − √8)²
    (1.0, 2.0)
    """
    real, generated = check_samples(real, generated)
    return FrechetDistance.between(Gram.of(real), Gram.of(generated))


def frechet_shares(
    real: Float64[np.ndarray, "n k"],
    generated: Float64[np.ndarray, "m k"],
    *,
    real_design: Design = INDEPENDENT,
    generated_design: Design = INDEPENDENT,
) -> Float64[np.ndarray, " k"]:
    """What each class adds to the Fréchet distance: E(X_k − Y_k)² under the optimal coupling.

    X has the generated side's Gaussian, Y the real side's. Where Σ_g is regular, Y = T(X) with T
    the optimal transport map; where it lacks directions that Σ_t has (a class never drawn), Y
    varies there independently of X.

    Args:
        real: one row an image, one column a class, in percent of pixels.
        generated: the same classes in the same order and unit.
        real_design: how much each real image counts; groups change no share.
        generated_design: the same of the generated images.

    Returns:
        One share a class, in percent²: not negative, and they sum to `frechet_distance(…).value`.

    Raises:
        SampleError: as `frechet_distance`.
    """
    real, generated = check_samples(real, generated)
    sides = ((real, real_design), (generated, generated_design))
    grams = [
        Gram.of(sample, None if design.weights is None else design.shares(len(sample)))
        for sample, design in sides
    ]
    return shares_between(grams[0], grams[1])


def shares_between(real: Gram, generated: Gram) -> Float64[np.ndarray, " k"]:
    """What each class adds to the distance of two samples of which these are the sums."""
    a, b = _root(generated.covariance), _root(real.covariance)  # Σ_g = a aᵀ, Σ_t = b bᵀ
    # With aᵀb = U D Vᵀ, X = a U ε and Y = b V ε is optimal: E XᵀY = Σ D, the largest it can be.
    u, d, vt = np.linalg.svd(a.T @ b)
    coupled = d > d.max(initial=0.0) * _COUPLED
    rank = int(coupled.sum())
    x, y = a @ u, b @ vt.T
    shares = ((x[:, :rank] - y[:, :rank]) ** 2).sum(axis=1)
    shares += (x[:, rank:] ** 2).sum(axis=1) + (y[:, rank:] ** 2).sum(axis=1)
    return np.asarray((real.mean - generated.mean) ** 2 + shares)


def fidelity(sigma_t: Float64[np.ndarray, "k k"], sigma_g: Float64[np.ndarray, "k k"]) -> float:
    """Trace of (Σ_t Σ_g)^½, for two covariances of any rank.

    With Σ_t = L Lᵀ it is tr (Lᵀ Σ_g L)^½, the square root of a symmetric matrix. L comes from a
    Cholesky factorisation with pivots, which ends at the rank instead of failing there. Of n images
    the rank is below n, so that Lᵀ Σ_g L is n × n where there are more classes than images.
    """
    factor, order = _triangular_factor(sigma_t)
    rank = factor.shape[1]
    if not rank:
        return 0.0
    pivoted = sigma_g[np.ix_(order, order)]
    if rank <= _NARROW * len(factor):
        product = factor.T @ (pivoted @ factor)  # (r, r)
    else:
        # LAPACK's reduction of A B x = λ x computes Lᵀ A L with triangular products alone.
        square = np.zeros_like(pivoted, order="F")
        square[:, :rank] = factor
        product, _ = scipy.linalg.lapack.dsygst(
            np.asfortranarray(pivoted), square, itype=2, lower=1, overwrite_a=1
        )
    eigenvalues = scipy.linalg.eigh(
        product, lower=True, eigvals_only=True, driver="evd", overwrite_a=True, check_finite=False
    )
    # Rounding leaves eigenvalues near eps · λ_max where zero is meant; their roots would be 1e-8.
    smallest = eigenvalues[-1] * len(eigenvalues) * np.finfo(np.float64).eps
    return float(np.sqrt(eigenvalues[eigenvalues > smallest]).sum())


def _triangular_factor(
    sigma: Float64[np.ndarray, "k k"],
) -> tuple[Float64[np.ndarray, "k r"], Int64[np.ndarray, " k"]]:
    """Lower triangular L of as many columns as the rank, and an order of classes: L Lᵀ = Σ."""
    largest = float(sigma.diagonal().max(initial=0.0))
    if largest <= 0.0:
        return np.zeros((len(sigma), 0)), np.arange(len(sigma))
    factor, pivots, rank, _ = scipy.linalg.lapack.dpstrf(
        sigma, lower=1, tol=largest * _RANK_TOLERANCE
    )
    # What stands beyond the rank is the part that was not factored.
    return np.tril(factor[:, :rank]), pivots.astype(np.int64) - 1


def _root(sigma: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "k k"]:
    """A square A with A Aᵀ = Σ, by eigendecomposition."""
    eigenvalues, vectors = np.linalg.eigh(np.atleast_2d(sigma))
    return np.asarray(vectors * np.sqrt(np.clip(eigenvalues, 0.0, None)))
