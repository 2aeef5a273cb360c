"""The mosaic of nearest samples: what it shows, by a slow and plain calculation of the same."""

import numpy as np
import pytest
import torch
from tests.support.inversion_worlds import noise

from unseen.core.errors import ImageError, SpecError
from unseen.images.pixels import to_uint8
from unseen.inversion.methods import Inversion, PreparedMethod
from unseen.inversion.nearest import NearestSamples, Samples
from unseen.inversion.perceptual import Perceptual

SIDE, CELLS = 16, 8
PLAIN = Inversion(method="nearest", perceptual="none", window=0.1)


def drawn(count=20, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)
    return Samples(images, rng.integers(0, 5, (count, SIDE, SIDE)))


def nearest(samples, settings=PLAIN, perceptual=None):
    return NearestSamples(settings, lambda: samples, resolution=SIDE, perceptual=perceptual)


def features(images):
    """Two numbers a cell of 4 × 4 pixels: coarser than the cells."""
    pooled = torch.nn.functional.avg_pool2d(images, 4)
    return torch.cat([pooled[:, :1], pooled[:, 1:2] * pooled[:, 2:]], dim=1)


COARSE = Perceptual("segmenter", features, {"name": "test"})


def by_hand(image, samples, *, window, weight):
    """Which sample each cell shows."""

    def described(x):
        blocks = x.reshape(3, CELLS, 2, CELLS, 2).transpose(1, 3, 0, 2, 4).reshape(CELLS, CELLS, 12)
        coarse = features(torch.from_numpy(x)[None])[0].numpy().repeat(2, 1).repeat(2, 2)
        return blocks, np.moveaxis(coarse, 0, -1)

    units = [one.astype(np.float32) / 127.5 - 1 for one in samples.images]
    known = [described(one) for one in units]
    means = [
        np.mean([np.abs(a[k] - b[k]).mean() for i, a in enumerate(known) for b in known[:i]])
        for k in range(2)
    ]
    ours = described(image)
    places = np.arange(CELLS)
    kernel = np.exp(-(((places[:, None] - places) / (window * CELLS)) ** 2) / 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    distances = []
    for theirs in known:
        pixels, coarse = (np.abs(ours[k] - theirs[k]).mean(axis=-1) / means[k] for k in range(2))
        distances.append(kernel @ (pixels + 0.5 * weight * coarse) @ kernel.T)
    return np.argmin(distances, axis=0), np.min(distances, axis=0).mean()


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_each_cell_shows_the_sample_that_a_plain_calculation_finds(weight):
    samples, images = drawn(), noise(3)
    settings = Inversion(method="nearest", window=0.1, perceptual_weight=weight)
    found = list(nearest(samples, settings, COARSE)(images))
    assert [one.row for one in found] == [0, 1, 2]
    for one, image in zip(found, images, strict=True):
        cells, loss = by_hand(image.numpy(), samples, window=0.1, weight=weight)
        assert np.array_equal(one.samples.numpy(), cells)
        assert one.loss == pytest.approx(loss, rel=1e-4)
        assert len(np.unique(cells)) > 3  # a mosaic indeed


def test_pixels_and_labels_are_those_of_the_sample_that_is_shown():
    samples = drawn()
    (one,) = nearest(samples)(noise(1))
    picture = to_uint8(one.reconstruction.numpy())
    for row, column in ((0, 0), (5, 11), (15, 15)):
        shown = int(one.samples[row // 2, column // 2])
        assert np.array_equal(picture[:, row, column], samples.images[shown, :, row, column])
        assert one.label_map[row, column] == samples.label_maps[shown, row, column]
    assert one.terms["pixel"] == pytest.approx(
        float((one.reconstruction - noise(1)[0]).abs().mean())
    )


def test_label_maps_may_be_of_another_size_than_images():
    samples = drawn()
    fine = Samples(samples.images, samples.label_maps.repeat(2, axis=1).repeat(2, axis=2))
    (small,), (large,) = (list(nearest(one)(noise(1))) for one in (samples, fine))
    assert np.array_equal(large.label_map, small.label_map.repeat(2, axis=0).repeat(2, axis=1))


def test_an_image_that_was_drawn_is_found_whole():
    samples = drawn()
    unit = torch.from_numpy(samples.images[7:8].astype(np.float32) / 127.5 - 1)
    (one,) = nearest(samples)(unit)
    assert (one.samples == 7).all()
    assert one.loss == pytest.approx(0, abs=1e-6)
    assert np.array_equal(to_uint8(one.reconstruction.numpy()), samples.images[7])


def test_an_image_does_not_depend_on_its_batch_and_more_samples_are_never_farther():
    samples, images = drawn(40), noise(4)
    together = list(nearest(samples)(images))
    alone = [next(nearest(samples)(image[None])) for image in images]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one.samples, other.samples)
    # scaled by the same samples
    fewer = Samples(samples.images[:20], samples.label_maps[:20])
    few = nearest(fewer)
    few.__dict__["_scales"] = nearest(samples)._scales
    for one, other in zip(together, few(images), strict=True):
        assert one.loss <= other.loss


def test_samples_are_drawn_when_they_are_needed_and_once():
    calls = []

    def draw():
        calls.append(1)
        return drawn()

    way = NearestSamples(PLAIN, draw, resolution=SIDE)
    assert calls == []
    list(way(noise(1)))
    list(way(noise(2)))
    assert calls == [1]


def test_features_that_are_not_a_number_fail_the_image_and_not_the_others():
    def spoilt(images):
        found = features(images)
        found[images[:, 0, 0, 0] > 0.9] = torch.nan
        return found

    images = noise(2)
    images[:, 0, 0, 0] = torch.tensor([0.0, 1.0])
    samples = drawn()
    samples.images[:, 0, 0, 0] = 0
    way = nearest(samples, Inversion(method="nearest"), Perceptual("segmenter", spoilt, {}))
    whole, failed = way(images)
    assert whole.failed is None
    assert failed.failed == "its distance from the samples is not a number"
    assert failed.label_map is None
    assert failed.reconstruction.isnan().all()


def test_what_cannot_be_compared_is_refused(generator):
    with pytest.raises(SpecError, match=r"window is 0; it is a share of the image's side above 0"):
        nearest(drawn(), Inversion(method="nearest", window=0.0))
    with pytest.raises(SpecError, match="the features 'latents' have no place"):
        nearest(drawn(), PLAIN, Perceptual("latents", features, {}))
    with pytest.raises(ImageError, match="images of 8×8 for samples of 16×16"):
        list(nearest(drawn())(noise(1, 8)))
    with pytest.raises(SpecError, match="method nearest inverts nothing"):
        PreparedMethod(generator, None, PLAIN)
