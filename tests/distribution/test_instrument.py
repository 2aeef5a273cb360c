import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from tests.support.worlds import Halves

import unseen
from unseen.distribution.comparison import read_comparison
from unseen.distribution.instrument import VIEWS, Wear, WornPreparation, measure_images, worn_to
from unseen.images import Preparation


def noise(n=3, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


def test_brightness_and_contrast_are_those_of_the_grey_picture():
    images = noise()
    measured = measure_images(images)
    for i, image in enumerate(images):
        grey = np.asarray(Image.fromarray(np.moveaxis(image, 0, -1)).convert("L")) / 255.0
        assert measured["brightness"][i] == pytest.approx(grey.mean(), abs=1 / 255)  # rounding
        assert measured["contrast"][i] == pytest.approx(grey.std(), abs=1 / 255)


def test_sharpness_of_independent_pixels_is_one_and_falls_with_blur_as_the_correlation_says():
    grey = np.repeat(noise(1, side=256)[:, :1], 3, axis=1)
    assert measure_images(grey)["sharpness"][0] == pytest.approx(1, abs=0.02)  # 65,536 pixels
    blurred = ndimage.gaussian_filter(grey.astype(float), (0, 0, 2, 2), mode="wrap")
    blurred = np.uint8(np.clip(128 + 6 * (blurred - 128), 0, 255))  # rounding to 8 bits drowns
    # a Gaussian of σ makes noise of correlation exp(−1 / 4σ²) between neighbours
    expected = np.sqrt(1 - np.exp(-1 / 16))
    assert measure_images(blurred)["sharpness"][0] == pytest.approx(expected, rel=0.05)


def test_a_record_of_images_that_are_sharper_than_noise_can_be_read_again(tmp_path):
    board = np.tile(np.uint8([[0, 255], [255, 0]]), (32, 32))
    boards = np.broadcast_to(board, (20, 3, 64, 64)).copy()
    comparison = unseen.compare(boards, boards, Halves(), workers=0)
    measures = {measure.name: measure.real for measure in comparison.generated[0].measures}
    # all neighbours differ by 255, and the standard deviation is half of that
    assert measures["sharpness"] == pytest.approx(2**0.5)
    assert read_comparison(comparison.save(tmp_path)) == comparison


def test_sharpness_does_not_depend_on_contrast():
    images = noise(1, side=64)
    pale = (images // 4 + 96).astype(np.uint8)
    sharp, pale_sharp = measure_images(images), measure_images(pale)
    assert pale_sharp["contrast"][0] == pytest.approx(sharp["contrast"][0] / 4, rel=0.02)
    assert pale_sharp["sharpness"][0] == pytest.approx(sharp["sharpness"][0], rel=0.02)


def test_one_colour_and_one_pixel_have_numbers():
    for images in (np.full((2, 3, 8, 8), 77, np.uint8), np.full((2, 3, 1, 1), 77, np.uint8)):
        measured = measure_images(images)
        assert (measured["sharpness"] == 0).all()
        assert (measured["contrast"] == 0).all()


def test_each_image_is_measured_by_itself():
    images = noise(5)
    together = measure_images(images)
    for name, values in together.items():
        alone = [measure_images(images[i : i + 1])[name][0] for i in range(5)]
        assert values.tolist() == alone
        assert values.dtype == np.float32


def test_views_keep_size_and_content():
    images = noise(2)
    assert (VIEWS["mirrored"](VIEWS["mirrored"](images)) == images).all()
    moved = VIEWS["moved"](images)
    assert moved.shape == images.shape
    assert (moved[:, :, 2:, 3:] == images[:, :, :-2, :-3]).all()
    assert (moved[:, :, 2, :3] == images[:, :, 0, :1]).all()  # the border is repeated


def test_wear_takes_the_measures_to_the_targets():
    rng = np.random.default_rng(5)
    images = ndimage.zoom(rng.integers(0, 256, (20, 3, 8, 8)).astype(float), (1, 1, 4, 4), order=1)
    images = np.uint8(np.clip(images + rng.normal(0, 8, images.shape), 0, 255))
    spoilt = Wear(blur=1.4, saturation=0.5, contrast=0.6, brightness=0.05).apply(images)
    targets = {name: float(values.mean()) for name, values in measure_images(spoilt).items()}
    wear = worn_to(images, targets)
    assert wear.blur == pytest.approx(1.4, rel=0.15)
    for name, values in measure_images(wear.apply(images)).items():
        assert values.mean() == pytest.approx(targets[name], rel=0.05)  # of 8-bit images


def test_no_wear_changes_nothing():
    images = noise(2)
    assert (Wear().apply(images) == images).all()
    assert (worn_to(images, {}).apply(images) == images).all()


def test_a_worn_preparation_wears_what_it_prepares():
    image = noise(1, side=40)[0]
    wear = Wear(blur=1.0, contrast=0.5)
    expected = wear.apply(Preparation(16).apply(image)[None])[0]
    assert (WornPreparation(16, wear=wear).apply(image) == expected).all()
