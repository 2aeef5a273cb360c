"""StyleGAN2 agrees with an independent forward pass, and draws image k whatever the batch."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import convolve2d, correlate2d
from tests.support.tensors import assert_batches_alike

import unseen
from unseen.core.errors import CheckpointError, SampleError, SpecError
from unseen.core.registry import parse_spec, plugin_names
from unseen.generators import Generator
from unseen.generators.stylegan2 import Architecture, ModulatedBlock, load_stylegan2
from unseen.generators.styles import BlockNetwork, MappingNetwork

WIDTHS = (5, 4, 3)  # 16×16, about 2,000 parameters; unequal so that a swapped axis shows


def toy(architecture: Architecture = "skip", classes: int = 0, **options: Any) -> BlockNetwork:
    """A random network in which every term counts: no bias, noise strength or mean is zero."""
    torch.manual_seed(7)
    mapping = MappingNetwork(
        latents=6, classes=classes, width=8, layers=2, styles=2 * len(WIDTHS), multiplier=0.1
    )
    block = functools.partial(ModulatedBlock, architecture=architecture, **options)
    network = BlockNetwork(mapping, WIDTHS, block)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
            if name.endswith("torgb.weight"):
                parameter.mul_(0.05)  # few values beyond [−1, 1], where all images are alike
        mapping.w_avg.normal_()
    return network


def nvidia_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict under NVIDIA's names."""
    return {
        key if key.startswith("mapping.") else f"synthesis.{key}": tensor.clone()
        for key, tensor in network.state_dict().items()
    }


def nvidia_settings(network: BlockNetwork) -> dict[str, dict[str, Any]]:
    """The attributes of NVIDIA's modules that decide images and are not tensors."""
    settings: dict[str, dict[str, Any]] = {"": {"z_dim": network.mapping.latents}}
    for number in range(network.mapping.layers):
        settings[f"mapping.fc{number}"] = {"bias_gain": 0.1, "activation": "lrelu"}
    for name, module in network.named_modules():
        if name.endswith(("conv0", "conv1")):
            settings[f"synthesis.{name}"] = {"conv_clamp": module.clamp, "activation": "lrelu"}
    return settings


@pytest.fixture
def write_toy(write_network: Any) -> Any:
    def write(network: BlockNetwork, name: str = "toy.pkl") -> Path:
        path: Path = write_network(nvidia_state(network), nvidia_settings(network), name=name)
        return path

    return write


def load(path: Path, options: str = "") -> Any:
    return load_stylegan2(parse_spec(f"stylegan2:{path}{options}"))


# An independent forward pass, in NumPy and double precision: weights are modulated image by image,
# and upsampling inserts zeros and convolves, as the paper describes it.


def numpy_images(
    state: dict[str, torch.Tensor],
    z: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    psi: float = 1.0,
    cutoff: int | None = None,
    clamp: float | None = None,
    multiplier: float = 0.1,
) -> np.ndarray:
    p = {key: tensor.double().numpy() for key, tensor in state.items()}

    def normalised(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)

    def affine(name: str, x: np.ndarray, m: float = 1.0) -> np.ndarray:
        weight = p[f"{name}.weight"]
        return x @ weight.T * (m / math.sqrt(weight.shape[1])) + p[f"{name}.bias"] * m

    def activated(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    def bounded(x: np.ndarray, gain: float) -> np.ndarray:
        return x * gain if clamp is None else np.clip(x, -clamp, clamp) * gain

    w = normalised(z)
    if labels is not None:
        w = np.concatenate([w, normalised(affine("mapping.embed", labels))], axis=1)
    for layer in range(2):
        w = activated(affine(f"mapping.fc{layer}", w, multiplier))
    styles = np.repeat(w[:, None], 6, axis=1)
    styles[:, :cutoff] = p["mapping.w_avg"] + psi * (styles[:, :cutoff] - p["mapping.w_avg"])
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64

    def stuffed(x: np.ndarray, before: int, behind: int) -> np.ndarray:
        out = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
        out[::2, ::2] = x
        return np.pad(out, (before, behind))

    def doubled(x: np.ndarray) -> np.ndarray:
        return np.stack([convolve2d(stuffed(c, 2, 1), taps, "valid") * 4 for c in x])

    def modulated(x: np.ndarray, name: str, style: np.ndarray, *, up: bool) -> np.ndarray:
        scale = affine(f"{name}.affine", style[None])[0]
        kernel = p[f"{name}.weight"] * scale[None, :, None, None]
        kernel /= np.sqrt((kernel**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
        out = []
        for filters in kernel:
            total = 0.0
            for channel, taps3 in zip(x, filters, strict=True):
                if up:
                    wide = convolve2d(stuffed(channel, 3, 2), taps, "valid") * 4
                    total = total + convolve2d(wide, taps3, "valid")
                else:
                    total = total + correlate2d(np.pad(channel, 1), taps3, "valid")
            out.append(total)
        features = np.stack(out)
        if f"{name}.noise_const" in p:
            features = features + p[f"{name}.noise_const"] * p[f"{name}.noise_strength"]
        return features + p[f"{name}.bias"][:, None, None]

    def rgb(x: np.ndarray, name: str, style: np.ndarray) -> np.ndarray:
        scale = affine(f"{name}.affine", style[None])[0] / math.sqrt(x.shape[0])
        drawn = np.einsum("oc,c,chw->ohw", p[f"{name}.weight"][:, :, 0, 0], scale, x)
        drawn = drawn + p[f"{name}.bias"][:, None, None]
        return bounded(drawn, 1)

    images = []
    for style in styles:
        x, image, k = p["synthesis.b4.const"], None, 0
        for resolution in (4, 8, 16):
            block = f"synthesis.b{resolution}"
            gain, shortcut = 1.0, None
            if resolution > 4:
                if f"{block}.skip.weight" in p:
                    gain = math.sqrt(0.5)
                    mix = p[f"{block}.skip.weight"][:, :, 0, 0] / math.sqrt(x.shape[0])
                    shortcut = doubled(np.einsum("oc,chw->ohw", mix, x)) * gain
                x = bounded(activated(modulated(x, f"{block}.conv0", style[k], up=True)), 1)
                k += 1
            x = bounded(activated(modulated(x, f"{block}.conv1", style[k], up=False)), gain)
            k += 1
            if shortcut is not None:
                x = x + shortcut
            if image is not None:
                image = doubled(image)
            if f"{block}.torgb.weight" in p:
                drawn = rgb(x, f"{block}.torgb", style[k])
                image = drawn if image is None else image + drawn
        assert image is not None
        images.append(image)
    return np.clip(np.stack(images), -1, 1)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_images_agree_with_an_independent_forward_pass(
    write_toy: Any, architecture: Architecture
) -> None:
    network = toy(architecture)
    state = nvidia_state(network)
    generator = load(write_toy(network), "?psi=0.7&cutoff=3")
    latents = generator.latents(range(3))
    images = generator(latents).numpy()
    expected = numpy_images(state, latents.double().numpy(), psi=0.7, cutoff=3)
    assert np.mean(np.abs(images) < 1) > 0.5  # or the comparison would be of clamped values
    # float32 against float64: a few rounding errors of 6e-8 on sums of 45 terms near 1
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_labels_and_clamps_agree_with_the_independent_forward_pass(
    write_toy: Any, architecture: Architecture
) -> None:
    network = toy(architecture, classes=3, clamp=0.4)
    generator = load(write_toy(network), "?class=cycle")
    latents = generator.latents([4, 2, 9])
    assert torch.equal(latents[:, 6:], torch.eye(3)[[1, 2, 0]])
    images = generator(latents).numpy()
    z, labels = latents.double().numpy()[:, :6], latents.double().numpy()[:, 6:]
    expected = numpy_images(nvidia_state(network), z, labels, clamp=0.4)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    one = load(write_toy(network), "?class=2")
    assert one.latent_size == 6
    np.testing.assert_allclose(one(torch.from_numpy(z[1:2]).float()), images[1:2], atol=1e-6)


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_image_k_is_the_same_for_every_batch_size(write_toy: Any, noise: str) -> None:
    generator = load(write_toy(toy()), f"?noise={noise}")
    assert_batches_alike(generator, 7, (1, 2, 5))


def test_noise_modes_differ_as_they_should(write_toy: Any) -> None:
    path = write_toy(toy())
    latents = load(path).latents([0, 0, 1])
    const, random, none = (load(path, f"?noise={m}")(latents) for m in ("const", "random", "none"))
    assert not torch.allclose(const, none, atol=1e-3)
    assert not torch.allclose(const, random, atol=1e-3)
    torch.testing.assert_close(random[0], random[1], atol=1e-5, rtol=0)  # one latent, one noise
    # Two images of one w differ by their noise alone; without noise they are one.
    still = load(path, "?psi=0&noise=none")(latents)
    moving = load(path, "?psi=0&noise=random")(latents)
    torch.testing.assert_close(still[0], still[2])
    assert not torch.allclose(moving[0], moving[2], atol=1e-3)


def test_truncation_ends_at_the_mean_and_begins_at_the_sample(write_toy: Any) -> None:
    path = write_toy(toy())
    latents = load(path).latents(range(2))
    untouched = load(path)(latents)
    assert torch.equal(load(path, "?psi=0.5&cutoff=0")(latents), untouched)
    mean = load(path, "?psi=0")(latents)
    torch.testing.assert_close(mean[0], mean[1], atol=1e-6, rtol=0)
    assert not torch.allclose(untouched[0], untouched[1], atol=1e-2)


def test_latents_per_seed_are_those_of_nvidias_scripts(write_toy: Any) -> None:
    path = write_toy(toy())
    generator = load(path, "?latents=per-seed")
    rows = generator.latents([85, 3]).numpy()
    for row, seed in zip(rows, (85, 3), strict=True):
        expected = np.random.RandomState(seed).randn(1, 6)[0]
        np.testing.assert_array_equal(row, expected.astype(np.float32))
    assert not np.allclose(generator.latents([3], seed=2).numpy(), rows[1])
    stream = np.random.RandomState(1).standard_normal((4, 6)).astype(np.float32)
    np.testing.assert_array_equal(load(path).latents([3])[0].numpy(), stream[3])
    with pytest.raises(SampleError, match="out of range"):
        generator.latents([-1])


def test_head_and_tail_compose_to_the_generator_and_pass_gradients(write_toy: Any) -> None:
    generator = load(write_toy(toy()), "?noise=random")
    assert generator.layer_names == ("mapping", "b4", "b8", "b16")
    latents = generator.latents(range(2))
    images = generator(latents)
    for layer in generator.layer_names:
        head, tail = generator.split(layer)
        assert torch.equal(tail(head(latents)).clamp(-1, 1), images)
    latents = latents.requires_grad_()
    head, tail = generator.split("b8")
    activations = head(latents)
    assert activations.features.shape == (2, 4, 8, 8)
    features = activations.features.detach().requires_grad_()
    tail(activations._replace(features=features)).sum().backward()
    assert features.grad.abs().sum() > 0
    assert latents.grad.abs().sum() > 0  # through the styles


def test_a_pickle_and_a_state_dict_of_one_network_draw_the_same(
    write_network: Any, tmp_path: Path
) -> None:
    network = toy()
    network.mapping.fc0.multiplier = network.mapping.fc1.multiplier = 0.01  # what NVIDIA uses
    state = nvidia_state(network)
    save_file(state, tmp_path / "toy.safetensors")
    torch.save({f"G_ema.{key}": t for key, t in state.items()}, tmp_path / "toy.pth")
    settings = nvidia_settings(network)
    for number in range(2):
        settings[f"mapping.fc{number}"]["bias_gain"] = 0.01
    pickled = write_network(state, settings, name="same.pkl")
    latents = load(pickled).latents(range(2))
    images = load(pickled)(latents)
    assert torch.equal(load(tmp_path / "toy.safetensors")(latents), images)
    assert torch.equal(load(tmp_path / "toy.pth")(latents), images)


def tensorflow_variables(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The same network as NVIDIA's TensorFlow code names and lays out its variables."""
    theirs = {"dlatent_avg": state["mapping.w_avg"].numpy()}
    for key, tensor in state.items():
        value = tensor.numpy()
        parts = key.split(".")
        if key.startswith("mapping.fc"):
            axes = value.T if parts[2] == "weight" else value
            theirs[f"mapping/Dense{parts[1][2:]}/{parts[2]}"] = axes
        elif key.startswith("mapping.embed"):
            theirs[f"mapping/LabelEmbed/{parts[2]}"] = value.T if parts[2] == "weight" else value
        elif key == "synthesis.b4.const":
            theirs["synthesis/4x4/Const/const"] = value[None]
        elif key.startswith("synthesis.") and "resample_filter" not in key:
            side = parts[1][1:]
            name = {"conv0": "Conv0_up", "torgb": "ToRGB", "skip": "Skip"}.get(parts[2], "Conv1")
            scope = f"synthesis/{side}x{side}/{'Conv' if name + side == 'Conv14' else name}"
            if parts[3] == "affine":
                value = value.T if parts[4] == "weight" else value - 1
                theirs[f"{scope}/mod_{parts[4]}"] = value
            elif parts[3] == "noise_const":
                number = {"4": -1, "8": 1, "16": 3}[side] + (name != "Conv0_up")
                theirs[f"synthesis/noise{number}"] = value[None, None]
            elif parts[3] == "weight":
                mirrored = value[:, :, ::-1, ::-1] if name == "Conv0_up" else value
                theirs[f"{scope}/weight"] = mirrored.transpose(2, 3, 1, 0)
            else:
                theirs[f"{scope}/{parts[3]}"] = value
    return theirs


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_a_tensorflow_pickle_draws_what_the_pytorch_one_does(
    write_toy: Any, write_tensorflow: Any, tmp_path: Path, architecture: Architecture
) -> None:
    network = toy(architecture, classes=2, clamp=0.9)
    pytorch = load(write_toy(network), "?class=1&psi=0.6")
    variables = tensorflow_variables(nvidia_state(network))
    settings = {"mapping_lrmul": 0.1, "conv_clamp": 0.9, "architecture": architecture}
    tensorflow = load(write_tensorflow(variables, settings), "?class=1&psi=0.6")
    latents = pytorch.latents(range(2))
    # A style's bias is stored less one, which costs a rounding in float32.
    torch.testing.assert_close(tensorflow(latents), pytorch(latents), atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match="nonlinearity='relu'"):
        load(write_tensorflow(variables, {"nonlinearity": "relu"}))


def test_half_precision_draws_nearly_the_same_image(write_toy: Any) -> None:
    path = write_toy(toy())
    spec = parse_spec(f"stylegan2:{path}")
    exact, rough = load_stylegan2(spec), load_stylegan2(spec, precision="bf16")
    latents = exact.latents(range(4))
    images = rough(latents)
    assert images.dtype == torch.float32
    # bfloat16 keeps 8 bits, and five layers add their errors
    assert (images - exact(latents)).abs().mean() < 0.02


def test_drawing_changes_no_tensor_of_the_network(write_toy: Any) -> None:
    generator = load(write_toy(toy()), "?noise=random&psi=0.5")
    before = {key: tensor.clone() for key, tensor in generator.network.state_dict().items()}
    generator(generator.latents(range(2)))
    for key, tensor in generator.network.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_it_is_found_by_name_and_by_spec(write_toy: Any) -> None:
    spec = f"stylegan2:{write_toy(toy())}?psi=0.5"
    generator = unseen.load_generator(spec)
    assert isinstance(generator, Generator)
    assert {"stylegan", "stylegan2", "stylegan3"} <= set(plugin_names("generators"))
    assert generator(generator.latents([0])).shape == (1, 3, 16, 16)


def test_the_record_says_what_decides_images(write_toy: Any) -> None:
    generator = load(write_toy(toy()), "?psi=0.5")
    assert generator.provenance["family"] == "stylegan2"
    assert generator.provenance["spec"].endswith("?psi=0.5")
    assert len(generator.provenance["weights_sha256"]) == 64
    assert generator.resolution == 16


def _without(state: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: _without(s, "synthesis.b8.conv0.bias"), r"lacks b8\.conv0\.bias"),
        (lambda s: s | {"synthesis.b8.extra": torch.zeros(1)}, r"also holds b8\.extra"),
        (lambda s: s | {"synthesis.b8.conv1.bias": torch.zeros(9)}, "shape"),
        (lambda s: s | {"mapping.w_avg": torch.full((8,), math.nan)}, "not finite"),
        (lambda s: s | {"synthesis.b16.torgb.weight": torch.zeros(2, 3, 1, 1)}, "2 channels"),
        (lambda s: {"synthesis.input.freqs": torch.zeros(3, 2)}, "stylegan3:FILE"),
        (lambda s: {"layer1.conv.weight": torch.zeros(3, 2)}, "needed synthesis.b4.const"),
        (lambda s: _without(s, "mapping.fc0.weight"), "mapping.fc0.weight"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(write_network: Any, change: Any, says: str) -> None:
    path = write_network(change(nvidia_state(toy())))
    with pytest.raises(CheckpointError, match=says):
        load(path)


@pytest.mark.parametrize(
    ("classes", "options", "says"),
    [
        (0, "?class=1", "has none"),
        (3, "", "class=cycle"),
        (3, "?class=3", "draws 0 to 2"),
        (0, "?psi=much", "psi"),
        (0, "?noise=loud", "noise"),
        (0, "?cutoff=-1", "cutoff"),
        (0, "?truncation=1", "unknown option"),
    ],
)
def test_an_impossible_option_is_refused(
    write_toy: Any, classes: int, options: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        load(write_toy(toy(classes=classes)), options)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is no file"):
        load(tmp_path / "absent.pkl")
