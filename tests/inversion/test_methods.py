import dataclasses

import pytest
import torch
from tests.support.inversion_worlds import (
    invert_batch,
    noise,
    own_images,
    tiny_generator,
    tiny_inverter,
)

from unseen.core.errors import ImageError, SpecError
from unseen.inversion.inverter import Inverter
from unseen.inversion.methods import PRESETS, Inversion, inversion_preset
from unseen.inversion.optimise import LBFGS, SOAP, Adam
from unseen.inversion.perceptual import Perceptual, load_perceptual

FEW = Adam(steps=60, learning_rate=0.05, momentum=0.95, falling=True)


def settings(method="f", **changes):
    return Inversion(**{"method": method, "perceptual": "none", "optimiser": FEW} | changes)


def correlation(one, other):
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()


def test_the_presets_are_the_papers():
    f, z = PRESETS["iccv2019"], PRESETS["iccv2019-z"]
    assert f.optimiser == Adam(
        steps=3000, learning_rate=0.01, halved_at=(800, 1200, 1800), momentum=0.9, tolerance=0.0
    )
    rates = {step: f.optimiser.rate(step) for step in (0, 799, 800, 1199, 1200, 1799, 1800, 2999)}
    assert list(rates.values()) == [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025, 0.00125, 0.00125]
    assert (f.method, f.perturbed, f.regularisation, f.perceptual, f.normalised) == (
        "f",
        3,
        1.0,
        "vgg16",
        False,
    )
    assert (f.perceptual_weight, f.perceptual_distance) == (1.0, "l1")
    assert isinstance(z.optimiser, LBFGS)
    assert (z.optimiser.steps, z.optimiser.tolerance) == (3000, 0.0)
    assert (z.perceptual, z.perceptual_weight, z.perceptual_distance) == ("latents", 0.25, "mse")
    assert PRESETS["default"].normalised


def test_settings_tell_one_optimiser_from_another():
    same = {"steps": 40, "learning_rate": 0.1}
    told = [Inversion(optimiser=kind(**same)).to_json()["optimiser"] for kind in (Adam, SOAP)]
    assert [optimiser["name"] for optimiser in told] == ["adam", "soap"]
    assert told[1].items() >= (told[0] | {"name": "soap"}).items()


def test_a_preset_can_be_changed_in_part():
    changed = inversion_preset("iccv2019", steps=10, cut="layer6", method="e")
    assert changed.optimiser == dataclasses.replace(PRESETS["iccv2019"].optimiser, steps=10)
    assert (changed.cut, changed.method) == ("layer6", "e")
    with pytest.raises(SpecError, match="no preset is called 'iccv'; known: default, iccv2019"):
        inversion_preset("iccv")
    with pytest.raises(SpecError, match="no method is called 'g'; known: a, b, c, d, e, f"):
        inversion_preset("default", method="g")
    with pytest.raises(SpecError, match="no perceptual features are called 'vgg'; known: vgg16,"):
        inversion_preset("default", perceptual="vgg")
    with pytest.raises(SpecError, match="0 steps were asked for"):
        inversion_preset("default", steps=0)


@pytest.mark.parametrize("method", ["a", "b", "c", "d", "e"])
def test_methods_a_to_e_draw_with_the_generator(generator, inverter, method):
    images = own_images(generator, 3)
    encoder = tiny_inverter(generator, seed=1)
    found = invert_batch(images, generator, inverter, settings(method), encoder=encoder)
    assert torch.allclose(found.reconstructions, generator(found.latents), atol=1e-5)
    head, _ = generator.split("layer4")
    assert torch.allclose(found.features, head(found.latents), atol=1e-4)
    assert found.deltas == {}
    assert found.failures == (None,) * 3
    estimate = {"b": encoder, "d": inverter}.get(method)
    if estimate is not None:
        assert torch.allclose(found.latents, estimate(images), atol=1e-5)
        assert found.steps == (0, 0, 0)
    else:
        assert found.steps == (60, 60, 60)
    assert torch.allclose(
        found.losses, (found.reconstructions - images).abs().mean((1, 2, 3)), atol=1e-5
    )


def test_optimising_z_improves_on_what_it_begins_from(generator, inverter):
    images = own_images(generator, 3)
    encoder = tiny_inverter(generator, seed=1)
    losses = {
        method: invert_batch(images, generator, inverter, settings(method), encoder=encoder).losses
        for method in "bcde"
    }
    assert (losses["c"] < losses["b"]).all()
    assert (losses["e"] < losses["d"]).all()


def test_the_random_starts_of_method_a_belong_to_the_image_not_to_the_batch(generator):
    images = own_images(generator, 3)
    a = settings("a", optimiser=Adam(steps=1, learning_rate=0.0))
    found = invert_batch(images, generator, None, a, numbers=[4, 9, 2])
    again = invert_batch(images[:1], generator, None, a, numbers=[2])
    assert torch.equal(found.latents[2], again.latents[0])
    assert not torch.equal(found.latents[0], found.latents[2])
    other = dataclasses.replace(a, seed=1)
    moved = invert_batch(images[:1], generator, None, other, numbers=[2])
    assert not torch.equal(moved.latents, again.latents)


class GoodInverter(Inverter):
    """As near to the latents of the generator's own images as a trained inverter comes."""

    def estimates(self, images):
        latents = tiny_generator().latents(range(len(images)), seed=20_002)
        return {"z": latents + 0.2 * noise(len(latents), 16).flatten(1)[:, : self.latent_size]}


def test_perturbations_rebuild_the_generators_own_images_nearly_perfectly(generator, inverter):
    images = own_images(generator, 4)
    good = GoodInverter(inverter.shapes, inverter.architecture)
    longer = Adam(steps=300, learning_rate=0.03, falling=True)
    chosen = settings(regularisation=0.0, optimiser=longer)
    found = invert_batch(images, generator, good, chosen)
    before = invert_batch(images, generator, good, settings("d"))
    assert correlation(before.reconstructions, images) < 0.98
    assert correlation(found.reconstructions, images) > 0.999
    assert (found.terms["pixel"] < 0.01).all()  # a level of 8 bits is 0.008


def test_the_loss_is_the_papers_formula_of_what_is_returned(generator, inverter):
    images = noise(2)
    perceptual = load_perceptual("inverter", inverter=inverter)
    chosen = settings(
        perturbed=("layer3", "layer1"),
        perceptual="inverter",
        perceptual_weight=0.5,
        regularisation=2.0,
    )
    found = invert_batch(images, generator, inverter, chosen, perceptual=perceptual)
    assert list(found.deltas) == ["layer1", "layer3"]
    with torch.no_grad():
        layers = dict(generator.network.named_children())
        r = layers["layer1"](inverter(images)) + found.deltas["layer1"]
        r = layers["layer3"](layers["layer2"](r)) + found.deltas["layer3"]
        r = layers["layer4"](r)
        x = generator.split("layer4")[1](r)
        assert torch.allclose(found.features, r, atol=1e-4)
        assert torch.allclose(found.reconstructions, x, atol=1e-4)
        estimate = inverter.estimates
        expected = (
            (x - images).abs().mean((1, 2, 3))
            + 0.5 * (estimate(x)["layer4"] - estimate(images)["layer4"]).abs().mean((1, 2, 3))
            + 2.0 * sum(delta.square().mean((1, 2, 3)) for delta in found.deltas.values())
        )
    assert torch.allclose(found.losses, expected, atol=1e-4)
    assert torch.equal(found.latents, inverter(images).detach())


@pytest.mark.parametrize(
    "optimiser",
    [
        FEW,
        LBFGS(steps=40),
        Adam(steps=80, learning_rate=0.05, tolerance=0.02, window=10),
        SOAP(steps=25, learning_rate=0.05),
    ],
)
def test_an_images_result_does_not_depend_on_its_batch(generator, inverter, optimiser):
    images = torch.cat([own_images(generator, 3), noise(3)])
    chosen = settings(optimiser=optimiser)
    together = invert_batch(images, generator, inverter, chosen)
    for row in (0, 4):
        alone = invert_batch(images[row : row + 1], generator, inverter, chosen)
        # the promise is 1 % of the loss; where batches are convolved alike it is the same bits
        assert alone.losses[0] == pytest.approx(together.losses[row].item(), rel=1e-5)
        difference = alone.reconstructions[0] - together.reconstructions[row]
        assert difference.abs().max() < 1e-4


@pytest.mark.parametrize("optimiser", [FEW, LBFGS(steps=20)])
def test_an_image_whose_loss_is_not_a_number_fails_and_the_others_do_not(
    generator, inverter, optimiser
):
    images = own_images(generator, 3)
    images[1] = 0.125  # the one that the features below cannot bear

    def features(batch):
        grey = (batch - 0.125).square().flatten(1)
        return grey / grey.mean(1, keepdim=True)

    spoiling = Perceptual("segmenter", features, {})
    chosen = settings(perceptual="segmenter", optimiser=optimiser)
    found = invert_batch(images, generator, inverter, chosen, perceptual=spoiling)
    assert found.failures == (None, "the loss is not a number after 0 steps", None)
    assert found.reconstructions[1].isnan().all()
    assert found.losses.isnan().tolist() == [False, True, False]
    alone = invert_batch(images[:1], generator, inverter, chosen, perceptual=spoiling)
    assert alone.losses[0] == pytest.approx(found.losses[0].item(), rel=0.01)


def test_a_method_without_its_network_says_which_one_it_needs(generator, inverter):
    images = noise(1)
    with pytest.raises(SpecError, match="method f needs an inverter, and none is given"):
        invert_batch(images, generator, None, settings("f", start="inverter"))
    with pytest.raises(SpecError, match="method c needs an encoder that was trained end to end"):
        invert_batch(images, generator, inverter, settings("c"))


def test_another_generators_inverter_is_refused(generator):
    other = tiny_inverter(tiny_generator((6, 8, 8, 8)))
    with pytest.raises(SpecError, match="its latent size is 6, the generator's 8"):
        invert_batch(noise(1), generator, other, settings())
    bigger = tiny_generator((8, 8, 8, 8, 8))
    with pytest.raises(SpecError, match="its resolution is 32, the generator's 16"):
        invert_batch(noise(1), generator, tiny_inverter(bigger), settings())


def test_layers_that_are_not_there_are_named(generator, inverter):
    for perturbed, message in (
        (5, "5 perturbed layers were asked for; there are 4 up to the cut 'layer4'"),
        (("layer9",), "layer 'layer9' cannot be perturbed; up to the cut there are layer1"),
        ((), "method f needs a layer to perturb"),
    ):
        with pytest.raises(SpecError, match=message):
            invert_batch(noise(1), generator, inverter, settings(perturbed=perturbed))
    with pytest.raises(SpecError, match="cannot be cut at 'layer9'"):
        invert_batch(noise(1), generator, inverter, settings(cut="layer9"))


def test_the_cut_may_lie_behind_the_layers_that_the_inverter_inverts(generator, inverter):
    found = invert_batch(noise(2), generator, inverter, settings(cut="layer6"))
    assert list(found.deltas) == [f"layer{i}" for i in range(1, 7)]
    assert found.features.shape == (2, 8, 16, 16)


def test_images_of_another_size_are_refused(generator, inverter):
    with pytest.raises(ImageError, match="images of 32×32 for a generator of 16×16"):
        invert_batch(noise(1, 32), generator, inverter, settings())


def test_features_other_than_the_settings_name_are_refused(generator, inverter):
    with pytest.raises(SpecError, match="the settings name the perceptual features 'vgg16' and"):
        invert_batch(noise(1), generator, inverter, settings(perceptual="vgg16"))
