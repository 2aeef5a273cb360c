"""Prediction-powered means against ppi-python, whose numbers are kept here."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.prediction_powered import powered_mean

Z = 1.959963984540054  # of a 95 % interval

# ppi-python 0.2.3, with `w`, `w_unlabeled` and `lam` as in the test:
#   ppi_mean_pointestimate(labels, predicted, everyone, lam=tuning, w=w, w_unlabeled=v)
#   ppi_mean_ci(labels, predicted, everyone, alpha=0.05, lam=tuning, w=w, w_unlabeled=v)
# weighted, λ, point estimate, ends of the interval
FROZEN = [
    (False, None, 0.49759322877193196, 0.35693578983645735, 0.6382506677074066),
    (False, 0.6, 0.49792000000000003, 0.3571881146471828, 0.6386518853528173),
    (True, None, 0.41479699565547845, 0.26134745117738756, 0.5682465401335693),
    (True, 0.6, 0.40313540106951873, 0.2498984051384393, 0.5563723970005984),
]


@pytest.mark.parametrize(("weighted", "tuning", "value", "low", "high"), FROZEN)
def test_it_gives_the_numbers_of_ppi_python(weighted, tuning, value, low, high):
    random = np.random.default_rng(7)
    everyone, predicted = random.random(300).round(2), random.random(40).round(2)
    labels = (random.random(40) < 0.2 + 0.5 * predicted).astype(float)
    mean = powered_mean(
        labels,
        predicted,
        everyone,
        weights=np.where(predicted > 0.5, 0.4, 1.6) if weighted else None,
        prediction_weights=np.where(everyone > 0.5, 0.7, 1.2) if weighted else None,
        tuning=tuning,
    )
    assert mean.value == pytest.approx(value, abs=1e-10)
    assert mean.value - Z * mean.error == pytest.approx(low, abs=1e-10)
    assert mean.value + Z * mean.error == pytest.approx(high, abs=1e-10)
    assert 0.0 < mean.tuning < 1.0  # λ is none of its bounds, so that its formula is tested


def test_predictions_that_are_all_the_same_change_nothing():
    labels = np.array([0.0, 1.0, 1.0])
    mean = powered_mean(labels, np.ones(3), np.ones(20))
    assert mean.tuning == 0.0
    assert mean.value == pytest.approx(2 / 3)  # of the labels


@pytest.mark.parametrize("n", [0, 2])
def test_labels_without_predictions_are_refused(n):
    with pytest.raises(SampleError, match=str(n)):
        powered_mean(np.zeros(n), np.zeros(1), np.zeros(5))


def test_weights_of_other_images_are_refused():
    with pytest.raises(SampleError, match="3"):
        powered_mean(np.zeros(2), np.zeros(2), np.zeros(5), weights=np.ones(3))
