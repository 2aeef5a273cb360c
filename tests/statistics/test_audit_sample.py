"""Which images are labelled, and what labels say of a side."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.audit_sample import (
    AuditSample,
    allocate,
    draw_to_label,
    strata_of,
)
from unseen.statistics.design import Design

THRESHOLD = 0.005


def world(n=2000, *, seed=0, sensitivity=0.7, false_alarms=0.05):
    random = np.random.default_rng(seed)
    truth = random.random(n) < 0.3
    seen = np.where(truth, random.random(n) < sensitivity, random.random(n) < false_alarms)
    fraction = np.where(seen, 0.005 + 0.02 * random.random(n), 0.004 * (random.random(n) < 0.1))
    return truth, fraction


def sample(truth, fraction, rows, **options):
    labels = np.full(len(truth), np.nan)
    labels[rows] = truth[rows]
    return AuditSample(fraction, THRESHOLD, labels, **options)


def test_allocation_gives_every_stratum_its_share_and_no_more_than_there_is():
    assert allocate([45, 5, 1950], 400) == [45, 5, 350]
    assert sum(allocate([400, 50, 1550], 100)) == 100
    assert allocate([0, 0, 30], 100) == [0, 0, 30]
    assert min(allocate([300, 300, 300], 30)) >= 3


def test_the_drawn_images_are_the_same_again_and_more_of_them_when_asked():
    _, fraction = world()
    few, again, many = (draw_to_label(fraction, THRESHOLD, n, 3) for n in (60, 60, 200))
    assert few.tolist() == again.tolist()
    assert len(set(many)) == 200
    assert set(few) <= set(many)


def test_labels_of_all_images_give_the_truth():
    truth, fraction = world()
    side = sample(truth, fraction, np.arange(len(truth)))
    assert side.presence() == pytest.approx(truth.mean())
    assert side.rate_of_calls(present=True) == pytest.approx(side.called[truth].mean())
    assert side.rate_of_calls(present=False) == pytest.approx(side.called[~truth].mean())


def test_presence_is_right_on_average_whatever_the_segmenter_does():
    truth, fraction = world()
    values = [
        sample(truth, fraction, draw_to_label(fraction, THRESHOLD, 100, seed)).presence()
        for seed in range(200)
    ]
    # an estimate has a standard deviation of 0.03 or less: the mean of 200 is within 0.007
    assert np.mean(values) == pytest.approx(truth.mean(), abs=0.007)
    assert abs((fraction >= THRESHOLD).mean() - truth.mean()) > 0.03  # uncorrected it is not


def test_counts_have_every_image_and_every_label_once():
    truth, fraction = world()
    rows = draw_to_label(fraction, THRESHOLD, 100, 0)
    counts = sample(truth, fraction, rows).counts()
    assert counts.images.sum() == len(truth)
    assert counts.labelled.sum() == 100
    assert counts.present.sum() == truth[rows].sum()
    assert counts.images[counts.called].sum() == (fraction >= THRESHOLD).sum()


def test_copies_in_groups_are_worth_one_label():
    truth, fraction = world(200)
    twice = np.repeat(np.arange(200), 2)
    design = Design(groups=twice)
    rows = np.arange(400)[np.isin(twice, draw_to_label(fraction, THRESHOLD, 40, 0))]
    alone = sample(truth, fraction, draw_to_label(fraction, THRESHOLD, 40, 0)).counts()
    copies = sample(truth[twice], fraction[twice], rows, design=design, effective=200.0).counts()
    for name in ("images", "labelled", "present"):
        np.testing.assert_allclose(getattr(copies, name), getattr(alone, name), atol=1e-6)


def test_weights_count():
    truth, fraction = world()
    weights = np.where(np.arange(len(truth)) % 3 == 0, 4.0, 1.0)
    side = sample(truth, fraction, np.arange(len(truth)), design=Design(weights=weights))
    assert side.presence() == pytest.approx(np.average(truth, weights=weights))


def test_a_stratum_without_a_label():
    truth, fraction = world()
    strata = strata_of(fraction, THRESHOLD)
    rows = np.flatnonzero(strata != 1)
    believed = sample(truth, fraction, rows).presence()  # the segmenter is believed of unsure ones
    mixed = np.where(strata == 1, fraction >= THRESHOLD, truth)
    assert believed == pytest.approx(mixed.mean())
    with pytest.raises(SampleError, match="no"):
        sample(truth, fraction, np.flatnonzero(strata != 2)).presence()
