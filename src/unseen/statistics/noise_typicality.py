"""Whether noise is what a diffusion model draws from: independent numbers of N(0, 1).

An integrator that is run backwards finds noise for any image. Of an image that the model would
draw the noise looks drawn, of another it need not: it is too long or too short, or keeps the
image's flat parts as neighbours that are alike. NumPy and SciPy; no networks.
Sources: Nalisnick et al., Detecting Out-of-Distribution Inputs to Deep Generative Models Using
Typicality, 2019 (length); Karras et al., CVPR 2020, and Parmar et al., Zero-shot Image-to-Image
Translation, 2023 (correlation of neighbours in noise maps).
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from unseen.core.errors import SampleError

ATYPICAL_BELOW = 0.01  # p


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseTypicality:
    """How one image's noise differs from d independent numbers of N(0, 1)."""

    length: float  # |z|² / d; drawn noise has 1 ± √(2/d)
    neighbours: float  # correlation of neighbours, down and across; drawn noise has 0 ± 1/√pairs
    distance: float  # of the numbers' distribution from N(0, 1): Kolmogorov and Smirnov's
    p: float  # that drawn noise differs as much in any of the three

    @property
    def atypical(self) -> bool:
        """Whether fewer than one in a hundred drawn noises differ as much."""
        return self.p < ATYPICAL_BELOW


def noise_typicality(noise: Float[np.ndarray, "c h w"]) -> NoiseTypicality:
    """Compare an image's noise with what is drawn.

    Three two-sided tests, joined by Bonferroni: |z|² is χ² of d degrees; the sum over pairs of
    neighbours of z_i z_j has mean 0 and variance of one a pair, and is nearly normal; the largest
    difference of the distribution functions is Kolmogorov and Smirnov's.

    Args:
        noise: of one image, without its batch axis.

    Raises:
        SampleError: it has no neighbours, or holds what is no number.

    >>> drawn = np.random.default_rng(1).standard_normal((4, 16, 16))
    >>> noise_typicality(drawn).atypical, noise_typicality(1.2 * drawn).atypical
    (False, True)
    """
    from scipy import stats

    values = np.asarray(noise, np.float64)
    products = (values[:, 1:] * values[:, :-1], values[..., 1:] * values[..., :-1])
    pairs = sum(product.size for product in products)
    squares = float(np.square(values).sum())
    if not pairs or not np.isfinite(squares):
        raise SampleError(
            f"noise of shape {values.shape} with sum of squares {squares}; finite numbers, and two "
            "a side, are needed"
        )
    shared = float(sum(product.sum() for product in products))
    largest = stats.kstest(values.ravel(), "norm")
    length = stats.chi2(values.size)
    chances = (
        2 * min(length.cdf(squares), length.sf(squares)),
        2 * stats.norm.sf(abs(shared) / pairs**0.5),
        largest.pvalue,
    )
    mean_square = squares / values.size
    return NoiseTypicality(
        length=mean_square,
        neighbours=shared / pairs / mean_square if mean_square else 0.0,
        distance=float(largest.statistic),
        p=float(min(1.0, len(chances) * min(chances))),
    )
