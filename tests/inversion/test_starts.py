"""Searches that begin without an inverter: at the nearest sample, or by running backwards."""

import functools
import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.support.inversion_worlds import invert_batch, noise, own_images, tiny_generator
from torch import nn

from unseen.cli.main import run as unseen_command
from unseen.core.errors import SpecError
from unseen.generators.layered import NetworkGenerator
from unseen.generators.stylegan import ConcatenatingMapping, NormalisedBlock
from unseen.generators.stylegan2 import ModulatedBlock
from unseen.generators.stylegan3 import FourierInput, LayerDesign, StyleGAN3
from unseen.generators.styles import BlockNetwork, MappingNetwork, Sampling, StyleGenerator
from unseen.inversion.inversions import read_inversions
from unseen.inversion.methods import Inversion, PreparedMethod
from unseen.inversion.nearest import SAMPLES_SEED
from unseen.inversion.optimise import Adam
from unseen.inversion.perceptual import Perceptual

WIDTHS = (5, 4, 3)  # 16×16
SAMPLES = 40


def settings(method="f", **changes):
    given = {"perceptual": "none", "samples": SAMPLES, "optimiser": Adam(steps=60)}
    return Inversion(method=method, **(given | changes))


def stylegan():
    sizes = {"latents": 6, "classes": 0, "width": 8, "layers": 2, "styles": 2 * len(WIDTHS)}
    block = functools.partial(NormalisedBlock, noise=False, channels=3)
    return BlockNetwork(ConcatenatingMapping(multiplier=0.1, **sizes), WIDTHS, block)


def stylegan2(architecture="skip", classes=0):
    mapping = MappingNetwork(
        latents=6, classes=classes, width=8, layers=2, styles=2 * len(WIDTHS), multiplier=0.1
    )
    return BlockNetwork(
        mapping, WIDTHS, functools.partial(ModulatedBlock, architecture=architecture)
    )


def stylegan3():
    mapping = MappingNetwork(latents=6, classes=0, width=7, layers=2, styles=4)
    waves = FourierInput(5, width=7, size=12, rate=8.0, bandwidth=2.0)
    plain = {"up_filter": (12,), "down_filter": (12,)}
    designs = [
        LayerDesign(inputs=5, outputs=4, in_size=12, out_size=12, **plain),
        LayerDesign(
            inputs=4, outputs=3, in_size=12, out_size=16, up=4, up_filter=(24,), down_filter=(12,)
        ),
        LayerDesign(
            inputs=3,
            outputs=3,
            in_size=16,
            out_size=16,
            kernel=1,
            up=1,
            down=1,
            up_filter=None,
            down_filter=None,
        ),
    ]
    return StyleGAN3(mapping, waves, designs)


def styled(build, **sampling):
    torch.manual_seed(3)
    network = build()
    return StyleGenerator(
        network=network,
        latent_size=6,
        resolution=16,
        provenance={"spec": build.__name__ if hasattr(build, "__name__") else "partial"},
        sampling=Sampling(**sampling),
    )


KINDS = {
    "1": stylegan,
    "2, skip": stylegan2,
    "2, resnet": functools.partial(stylegan2, "resnet"),
    "3": stylegan3,
}


def test_a_sample_finds_its_own_latents():
    generator = tiny_generator()
    chosen = [3, 31]
    images = own_images(generator, SAMPLES, seed=SAMPLES_SEED)[chosen]
    found = invert_batch(images, generator, None, settings("d"))
    assert torch.equal(found.latents, generator.latents(chosen, seed=SAMPLES_SEED))
    assert float(found.terms["pixel"].max()) <= 1 / 255  # 8 bits: half a level of 2/255


def test_the_nearest_is_that_of_the_stated_distance():
    """By hand: P over its mean between samples, and half of F over its, in 8 × 8 cells."""
    generator = tiny_generator()
    edges = Perceptual("inverter", lambda x: x.diff(dim=3)[..., ::2], {"name": "edges"})
    chosen = settings("d", perceptual="inverter", perceptual_weight=0.8)
    images = noise(3)
    samples = own_images(generator, SAMPLES, seed=SAMPLES_SEED).numpy()

    def pooled(pictures):  # 16×16 pixels are 8 × 8 cells of 2 × 2; edges are 16×8
        steps = np.diff(pictures, axis=3)[..., ::2]
        return pictures, steps.reshape(len(pictures), 3, 8, 2, 8).mean(axis=3)

    total = np.zeros((3, SAMPLES))
    for weight, theirs, ours in zip((1, 0.4), pooled(samples), pooled(images.numpy()), strict=True):
        between = np.abs(theirs[:, None] - theirs).reshape(SAMPLES, SAMPLES, -1).sum(axis=2)
        scale = between.sum() / (SAMPLES * (SAMPLES - 1))
        total += weight * np.abs(ours[:, None] - theirs).reshape(3, SAMPLES, -1).sum(axis=2) / scale
    found = invert_batch(images, generator, None, chosen, perceptual=edges)
    expected = generator.latents(total.argmin(axis=1).tolist(), seed=SAMPLES_SEED)
    assert torch.equal(found.latents, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_styles_and_features_up_to_the_cut_are_perturbed(kind):
    generator = styled(KINDS[kind])
    cut = generator.layer_names[2]
    chosen = settings(cut=cut, regularisation=0.0)
    images = noise(2) * 0.5
    found = invert_batch(images, generator, None, chosen)
    begun = invert_batch(images, generator, None, settings("d", cut=cut))
    assert tuple(found.deltas) == generator.layer_names[:3]
    assert (found.losses < begun.losses).all()
    # By hand: what a layer makes is perturbed, and the next layer takes it with all the rest.
    mapping, first, second, *others = generator.network
    with torch.no_grad():
        now = mapping(found.latents)
        now = now._replace(styles=now.styles + found.deltas["mapping"])
        for layer, name in ((first, generator.layer_names[1]), (second, cut)):
            now = layer(now)
            now = now._replace(features=now.features + found.deltas[name])
        assert torch.allclose(now.features, found.features, atol=1e-5)
        for layer in others:
            now = layer(now)
    assert torch.allclose(now.clamp(-1, 1), found.reconstructions, atol=1e-5)
    assert all(float(delta.abs().max()) > 0 for delta in found.deltas.values())


def test_a_styled_images_result_does_not_depend_on_its_batch():
    generator = styled(stylegan2)
    images = noise(3)
    together = invert_batch(images, generator, None, settings())
    alone = invert_batch(images[1:2], generator, None, settings())
    assert torch.allclose(together.reconstructions[1], alone.reconstructions[0], atol=1e-4)


def test_the_default_cut_is_the_last_of_8_pixels_or_the_styles_alone():
    def cut(build):
        return PreparedMethod(styled(build), None, settings()).split.cut

    assert cut(stylegan2) == "b8"
    assert cut(stylegan3) == "mapping"  # its features begin at 12 pixels


def test_latents_that_carry_more_than_numbers_are_not_optimised():
    for sampling, classes in (({"label": "cycle"}, 3), ({"noise": "random"}, 0)):
        generator = styled(functools.partial(stylegan2, classes=classes), **sampling)
        for method in "ae":
            with pytest.raises(SpecError, match=next(iter(sampling.values()))):
                PreparedMethod(generator, None, settings(method))
        found = invert_batch(noise(1), generator, None, settings("f"))
        assert found.failures == (None,)


class Backwards(NetworkGenerator):
    """Two layers whose way back is known: z scaled, then tiled."""

    default_cut = "wide"
    perturbs_cut_alone = True

    def backwards(self, images):
        features = images.mean(dim=(2, 3), keepdim=True)
        return {"z": features.flatten(1) / 4, "wide": features}


class Scale(nn.Module):
    def forward(self, z):
        return 2 * z[:, :, None, None] if z.ndim == 2 else z.expand(-1, -1, 8, 8)


def backwards():
    network = nn.Sequential(OrderedDict(wide=Scale(), image=Scale()))
    return Backwards(network, latent_size=3, resolution=8, provenance={"spec": "backwards"})


def test_a_generator_that_runs_backwards_begins_there_and_is_perturbed_at_the_cut():
    generator = backwards()
    images = torch.full((2, 3, 8, 8), 0.5)
    images[1] = -0.25
    prepared = PreparedMethod(generator, None, settings())
    assert (prepared.start, prepared.split.cut, prepared.perturbed) == (
        "noise",
        "wide",
        ("wide",),
    )
    first = invert_batch(images, generator, None, settings(optimiser=Adam(steps=1)))
    # The features of the way back rebuild the images; the head's of its latents are half of them.
    assert float(first.losses.max()) < 0.02
    drawn = invert_batch(images, generator, None, settings("d"))
    assert torch.allclose(drawn.reconstructions, images / 2)
    with pytest.raises(SpecError, match="noise"):
        PreparedMethod(tiny_generator(), None, settings(start="noise"))
    with pytest.raises(SpecError, match="inverter"):
        PreparedMethod(tiny_generator(), None, settings(start="inverter"))


def test_the_command_inverts_by_a_snapshot_alone(tmp_path, capsys):
    network = stylegan2()
    state = {
        key if key.startswith("mapping.") else f"synthesis.{key}": tensor.contiguous()
        for key, tensor in network.state_dict().items()
    }
    save_file(state, tmp_path / "network.safetensors")
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(noise(2).numpy()):
        pixels = ((np.moveaxis(picture, 0, -1) + 1) * 127.5).round().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    command = ["invert", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--no-evidence"]
    command += ["--generator", f"stylegan2:{tmp_path / 'network.safetensors'}", "--method", "d,f"]
    command += ["--samples", "20", "--steps", "3", "--perceptual", "none", "--controls", "1"]
    assert unseen_command(command) == 0
    assert "20 samples" in capsys.readouterr().err
    record = read_inversions(tmp_path / "out")
    about = record.provenance["settings"]["f"]
    assert (about["start"], about["samples_seed"], about["samples"]) == ("nearest", 50_005, 20)
    assert about["perturbed"] == ["mapping", "b4", "b8"]
    kept = record.tensors(record.images[0], "f")
    assert kept["delta.mapping"].shape == (6, 8)
    before = (tmp_path / "out" / "inversions.json").read_bytes()
    assert unseen_command(command) == 0  # nothing is left to do
    assert (tmp_path / "out" / "inversions.json").read_bytes() == before
    assert json.loads(before)["complete"]
