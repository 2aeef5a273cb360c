"""Differentiable augmentation: its changes against their formulas, its law, its gradients."""

import pytest
import torch
from lab.augmentation import augment, check_changes

from unseen.core.errors import SpecError

ALL = ("colour", "translation", "cutout")


def drawn(seed: int = 0, count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def changed(images: torch.Tensor, *changes: str, seed: int = 7) -> torch.Tensor:
    return augment(images, changes, torch.Generator().manual_seed(seed))


def test_without_changes_images_and_random_stream_are_left_alone() -> None:
    images, generator = drawn(), torch.Generator().manual_seed(7)
    before = generator.get_state()
    assert augment(images, (), generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("change", ALL)
def test_what_is_done_does_not_depend_on_the_pixels(change: str) -> None:
    # One law for real and generated images: with the same random numbers every change is the same
    # affine map of the pixels, so the mean of two images becomes the mean of the changed ones.
    real, generated = drawn(1), drawn(2)
    middle = changed((real + generated) / 2, change)
    expected = (changed(real, change) + changed(generated, change)) / 2
    torch.testing.assert_close(middle, expected, atol=1e-6, rtol=1e-5)  # float32 rounding
    assert not torch.equal(changed(real, change), real)
    assert not torch.equal(changed(real, change), changed(real, change, seed=8))


def test_gradients_reach_every_pixel_that_is_still_seen() -> None:
    images = drawn().requires_grad_()
    changed(images, "translation", "cutout").sum().backward()
    assert images.grad is not None
    assert set(images.grad.unique().tolist()) == {0.0, 1.0}  # moved or cut away; seen once
    seen = images.grad.mean(dim=(1, 2, 3))
    # at most an eighth a side is moved out, and a quarter of the rest or less is cut
    assert (seen >= (7 / 8) ** 2 - 1 / 4).all()
    assert (seen < 1).all()

    images = drawn().requires_grad_()
    changed(images, "colour").square().sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


def test_colour_keeps_its_ranges() -> None:
    # The mean of an image is moved by its brightness alone, uniform in ± 0.5.
    images = drawn(count=200)
    moved = (changed(images, "colour") - images).mean(dim=(1, 2, 3))
    assert moved.abs().max() <= 0.5
    assert moved.min() < -0.4  # fails once in 0.9²⁰⁰ = 7e-10
    assert moved.max() > 0.4
    # A grey image has no saturation, so its contrast is seen: 0.5 to 1.5.
    grey = images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    ratio = changed(grey, "colour").std(dim=(1, 2, 3)) / grey.std(dim=(1, 2, 3))
    assert 0.5 <= ratio.min() < 0.6
    assert 1.4 < ratio.max() <= 1.5


def test_an_image_is_moved_whole_and_grey_comes_in() -> None:
    image = drawn(count=1)
    moved = changed(image.expand(50, -1, -1, -1), "translation")
    places = set()
    for picture in moved:
        # sixteen pixels a side, so by two at most; the places of the inner 12×12 tell by how much
        inner = image[0, :, 2:14, 2:14]
        found = [
            (down, across)
            for down in range(5)
            for across in range(5)
            if torch.equal(picture[:, down : down + 12, across : across + 12], inner)
        ]
        assert len(found) == 1
        down, across = found[0][0] - 2, found[0][1] - 2
        expected = torch.zeros_like(picture)
        rows = slice(max(down, 0), 16 + min(down, 0)), slice(max(-down, 0), 16 - max(down, 0))
        columns = (
            slice(max(across, 0), 16 + min(across, 0)),
            slice(max(-across, 0), 16 - max(across, 0)),
        )
        expected[:, rows[0], columns[0]] = image[0, :, rows[1], columns[1]]
        assert torch.equal(picture, expected)
        places.add((down, across))
    assert len(places) > 12  # of 25 places, 50 draws; fewer than 13 has a chance below 1e-6


def test_the_hole_is_half_the_side_around_any_pixel() -> None:
    cut = changed(torch.ones(300, 3, 16, 16), "cutout") == 0
    rows, columns = cut.any(dim=(1, 3)).sum(1), cut.any(dim=(1, 2)).sum(1)
    assert rows.max() == columns.max() == 8  # whole
    assert rows.min() == columns.min() == 4  # around the first pixel half of it sticks out
    assert torch.equal(cut.sum(dim=(1, 2, 3)), 3 * rows * columns)


def test_half_precision_is_rounded_once() -> None:
    images = drawn().bfloat16()
    expected = changed(images.float(), *ALL).bfloat16()
    assert torch.equal(changed(images, *ALL), expected)


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(SpecError, match="color"):
        check_changes(("color",))
