"""A mean from a few labels and many predictions: prediction-powered inference with power tuning.

NumPy alone. Which images are labelled may differ by stratum: then the weights make the labelled
images stand for all of them.
Sources: Angelopoulos and others, Science 382, 2023; the tuning λ of PPI++, arXiv:2311.01453.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float64

from unseen.core.errors import SampleError
from unseen.core.wording import count


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoweredMean:
    """A mean that predictions have helped to estimate."""

    value: float
    error: float  # standard error, where labelled images were drawn independently
    tuning: float  # λ: 0 uses the labels alone, 1 the predictions as if they were labels


def powered_mean(
    labels: Float64[np.ndarray, " n"],
    predicted: Float64[np.ndarray, " _"],
    predictions: Float64[np.ndarray, " m"],
    *,
    weights: Float64[np.ndarray, " _"] | None = None,
    prediction_weights: Float64[np.ndarray, " _"] | None = None,
    tuning: float | None = None,
) -> PoweredMean:
    """The mean of the labels that all images would have.

    θ = λ · mean(f) + mean(y − λ f), with means over all images and over the labelled ones.

    Args:
        labels: y of the labelled images.
        predicted: f of the same images.
        predictions: f of all images.
        weights: how much a labelled image counts: the images that it stands for. None: the same.
        prediction_weights: how much each of all images counts. None: the same.
        tuning: λ; None: the λ in [0, 1] of least variance.

    Raises:
        SampleError: no label, no prediction, or weights that do not fit.

    >>> powered_mean(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0, 1.0])).value
    0.583...
    """
    if not len(labels) or not len(predictions) or len(predicted) != len(labels):
        raise SampleError(
            f"there are {count(len(labels), 'label')} with {len(predicted)} predictions, and "
            f"{len(predictions)} predictions in all; a mean needs each"
        )
    n, m = len(labels), len(predictions)
    w, v = _of_mean_one(weights, n), _of_mean_one(prediction_weights, m)
    if tuning is None:
        tuning = _least_variance(labels, predicted, predictions, w, v)
    rectifiers = w * (labels - tuning * predicted)
    powered = v * tuning * predictions
    return PoweredMean(
        value=float(powered.mean() + rectifiers.mean()),
        error=math.sqrt(float(powered.var() / m + rectifiers.var() / n)),
        tuning=tuning,
    )


def _least_variance(
    y: Float64[np.ndarray, " n"],
    f: Float64[np.ndarray, " n"],
    all_f: Float64[np.ndarray, " m"],
    w: Float64[np.ndarray, " n"],
    v: Float64[np.ndarray, " m"],
) -> float:
    """λ = cov(y, f) / ((1 + n/m) var(f)), the gradients of the squared loss in their places."""
    theta = (v * all_f).mean() + (w * (y - f)).mean()
    of_labels, of_predicted = w * (y - theta), w * (f - theta)
    covariance = np.mean((of_labels - of_labels.mean()) * (of_predicted - of_predicted.mean()))
    variance = np.var(np.concatenate([of_predicted, v * (all_f - theta)]), ddof=1)
    if variance <= 0.0:  # all predictions are the same and tell nothing
        return 0.0
    return float(np.clip(covariance / ((1.0 + len(y) / len(all_f)) * variance), 0.0, 1.0))


def _of_mean_one(weights: Float64[np.ndarray, " n"] | None, n: int) -> Float64[np.ndarray, " n"]:
    if weights is None:
        return np.ones(n)
    if len(weights) != n or not (np.isfinite(weights).all() and weights.sum() > 0.0):
        raise SampleError(f"there are {len(weights)} weights for {n} images; give one each")
    return np.asarray(weights / weights.mean())
