"""The inverter: its networks follow a generator's shapes, its composition is e_1 ∘ … ∘ e_f."""

import dataclasses

import pytest
import torch
from tests.support.networks import WIDTH, dcgan, progan, styled
from torch import nn

from unseen.core.errors import GeneratorError, SpecError
from unseen.generators.layered import NetworkGenerator
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_networks import (
    Architecture,
    LatentInverter,
    LayerInverter,
    TailResNet,
)
from unseen.inversion.layers import split_generator

RELEASED = Architecture(family="iccv2019", width=8)  # a ResNet-18's is 64
# what the tail is at the paper's size: 256×256 images, r4 of 512×8×8
STAGES = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.named_parameters()}


def test_the_released_layer_inverter_has_the_papers_tensors() -> None:
    found = shapes_of(LayerInverter(512, 256, (2, 2), last=True))
    assert found == {
        "conv1.weight": (256, 512, 3, 3),
        "conv1.bias": (256,),
        "bn1.weight": (256,),
        "bn1.bias": (256,),
        "conv2.weight": (256, 256, 3, 3),
        "conv2.bias": (256,),
        "bn2.weight": (256,),
        "bn2.bias": (256,),
        "conv3.weight": (256, 256, 1, 1),
        "conv3.bias": (256,),
    }


def test_the_released_first_inverter_ends_in_latents_of_unit_mean_square() -> None:
    inverter = LatentInverter((16, 4, 4), 8, norm=True)
    assert shapes_of(inverter) == {
        "conv1.weight": (8, 16, 4, 4),
        "conv1.bias": (8,),
        "bn1.weight": (8,),
        "bn1.bias": (8,),
        "conv2.weight": (8, 8, 1, 1),
        "conv2.bias": (8,),
    }
    latents = inverter(torch.randn(5, 16, 4, 4))
    # pixel norm adds 1e-8 to the mean square
    torch.testing.assert_close(latents.square().mean(dim=1), torch.ones(5), rtol=1e-4, atol=0)


def test_the_released_tail_is_a_resnet_18_with_another_head() -> None:
    tail = TailResNet(512, 256, 8)
    found = shapes_of(tail)
    assert found["conv1.weight"] == (64, 3, 7, 7)
    assert found["layer5.conv5.weight"] == (512, 512, 1, 1)
    for name, width in STAGES.items():
        assert found[f"{name}.0.conv1.weight"][0] == width
        assert found[f"{name}.1.conv2.weight"] == (width, width, 3, 3)
        assert (f"{name}.0.downsample.0.weight" in found) == (name != "layer1")
    # torchvision's ResNet-18 has 11,689,512 parameters, of them 513,000 in its classifier
    assert sum(value.numel() for value in tail.parameters()) == 11_689_512 - 513_000 + 512 * 513
    assert [module.stride for name, module in tail.named_modules() if name == "conv1"] == [(2, 2)]
    assert tail.get_submodule("maxpool").stride == 2


@pytest.mark.parametrize(
    ("resolution", "size", "pool", "first"),
    [
        (128, 8, 1, 2),  # the release's halfsize
        (64, 8, 1, 1),  # both strides of the stem are dropped
        (64, 4, 1, 2),
        (16, 8, 1, 1),  # strides of the stages too
        (24, 5, 1, 1),  # no power of two: averaged to size
        (1024, 4, 2, 2),  # more than a ResNet-18 divides by
    ],
)
def test_strides_are_dropped_until_the_map_has_the_cuts_size(
    resolution: int, size: int, pool: int, first: int
) -> None:
    tail = TailResNet(6, resolution, size).eval()
    assert tail.get_submodule("maxpool").stride == pool
    assert tail.get_submodule("conv1").stride == (first, first)
    with torch.no_grad():
        assert tail(torch.zeros(1, 3, resolution, resolution)).shape == (1, 6, size, size)


def test_halfsize_says_where_it_cannot_be_had() -> None:
    assert TailResNet(6, 128, 8, halfsize=True).get_submodule("maxpool").stride == 1
    assert TailResNet(6, 128, 8, halfsize=False).get_submodule("conv1").stride == (1, 1)
    with pytest.raises(SpecError, match="halfsize=True cannot be had: images of 256"):
        TailResNet(6, 256, 8, halfsize=True)


@pytest.mark.parametrize("architecture", [RELEASED, Architecture(width=4)])
@pytest.mark.parametrize("cut", ["layer1", "layer2", "layer3", "layer4", "layer6"])
def test_every_layer_up_to_any_cut_is_inverted(cut: str, architecture: Architecture) -> None:
    generator = progan()
    split = split_generator(generator, cut)
    inverter = Inverter(split.shapes, architecture).eval()
    latents = generator.latents(range(3))
    features = split.head(latents)
    with torch.no_grad():
        estimates = inverter.estimates(generator(latents))
    assert inverter.layer_names == generator.layer_names[: len(features)]
    assert list(estimates) == [*reversed(inverter.layer_names), "z"]
    assert estimates["z"].shape == latents.shape
    for name, true in zip(inverter.layer_names, features, strict=True):
        assert estimates[name].shape == true.shape


def test_the_second_layers_inverter_alone_lacks_the_last_convolution() -> None:
    inverter = Inverter(split_generator(progan(), "layer4").shapes, RELEASED)
    last = [hasattr(layer, "conv3") for layer in inverter.layers[1:]]
    assert last == [False, True, True]
    strides = [layer.get_submodule("conv3").stride for layer in inverter.layers[2:]]
    assert strides == [(2, 2), (1, 1)]  # layer3 upsamples, layer4 does not


def test_the_inverter_is_the_composition_of_its_children() -> None:
    generator = progan()
    inverter = Inverter(split_generator(generator, "layer3").shapes, RELEASED).eval()
    images = generator(generator.latents(range(2)))
    with torch.no_grad():
        third = inverter.tail(images)
        second = inverter.layers[2](third)
        first = inverter.layers[1](second)
        latents = inverter.layers[0](first)
        assert torch.equal(inverter(images), latents)


def test_a_dcgan_is_inverted_too() -> None:
    generator = dcgan()
    split = split_generator(generator)
    assert split.cut == "1"  # the last of at most 8×8
    inverter = Inverter(split.shapes, RELEASED).eval()
    latents = generator.latents(range(2))
    with torch.no_grad():
        estimates = inverter.estimates(generator(latents))
    assert {name: tuple(value.shape) for name, value in estimates.items()} == {
        "1": (2, WIDTH, 8, 8),
        "0": (2, 12, 4, 4),
        "z": (2, 6),
    }
    # e_2 must halve the map, so it has its last convolution
    assert inverter.layers[1].get_submodule("conv3").stride == (2, 2)


def test_only_latents_whose_length_is_lost_are_normalised() -> None:
    assert split_generator(progan()).shapes.scale_free
    assert not split_generator(dcgan()).shapes.scale_free
    first = Inverter(split_generator(dcgan()).shapes, RELEASED).layers[0]
    assert not hasattr(first, "pnormout")


def test_the_papers_r4_is_the_default_cut() -> None:
    assert split_generator(progan()).cut == "layer4"
    assert split_generator(progan(widths=(4,) * 6)).cut == "layer4"  # at 64×64


def test_flat_layers_are_inverted_and_shrinking_ones_refused() -> None:
    layers = nn.Sequential(
        nn.Linear(4, 5),
        nn.Sequential(nn.Linear(5, 3 * 16), nn.Unflatten(1, (3, 4, 4))),
        nn.AvgPool2d(2),
        nn.Sequential(nn.Upsample(scale_factor=4), nn.Tanh()),
    )
    generator = NetworkGenerator(layers, latent_size=4, resolution=8, provenance={})
    inverter = Inverter(split_generator(generator, "1").shapes, RELEASED).eval()
    with torch.no_grad():
        estimates = inverter.estimates(torch.zeros(2, 3, 8, 8))
    assert [tuple(value.shape) for value in estimates.values()] == [(2, 3, 4, 4), (2, 5), (2, 4)]
    shapes = split_generator(generator, "2").shapes
    with pytest.raises(GeneratorError, match=r"'2' turns features of shape \(3, 4, 4\) into"):
        Inverter(shapes, RELEASED)
    with pytest.raises(GeneratorError, match="the cut needs a square map"):
        Inverter(dataclasses.replace(shapes, layer_names=("0",), features=((5,),)), RELEASED)


def test_what_cannot_be_split_is_refused_with_a_way_out() -> None:
    one = NetworkGenerator(
        nn.Sequential(nn.Unflatten(1, (3, 1, 1))), latent_size=3, resolution=1, provenance={}
    )
    with pytest.raises(GeneratorError, match="the one layer '0' and cannot be split"):
        split_generator(one)
    with pytest.raises(GeneratorError, match="layer '0' of the generator gives Pair"):
        split_generator(styled())


def test_a_head_that_hides_its_layers_is_refused() -> None:
    class Whole(NetworkGenerator):
        def split(self, layer: str) -> tuple[nn.Module, nn.Module]:
            head, tail = super().split(layer)
            return nn.Sequential(head), tail

    whole = Whole(progan().network, latent_size=WIDTH, resolution=16, provenance={})
    with pytest.raises(GeneratorError, match=r"no nn\.Sequential of its layers layer1, layer2"):
        split_generator(whole, "layer2")


@pytest.mark.parametrize(
    ("cut", "message"),
    [("layer9", "it has no such layer; choose one of layer1"), ("output_16x16", "it ends there")],
)
def test_a_cut_that_leaves_no_head_or_tail_is_refused(cut: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        split_generator(progan(), cut)


def test_the_weights_hash_is_of_the_generator_and_not_of_the_cut() -> None:
    hashes = {split_generator(progan(), cut).weights_sha256 for cut in ("layer1", "layer4")}
    assert len(hashes) == 1
    assert split_generator(progan(seed=1)).weights_sha256 not in hashes
