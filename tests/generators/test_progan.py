"""ProGAN: against an independent forward pass in NumPy, its file formats, and bad files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unseen.core.errors import CheckpointError, SpecError
from unseen.generators import Generator, load_generator
from unseen.generators.progan import ProGAN, network_from_state_dict, state_dict_from_tensorflow
from unseen.weights import Checkpoint

WIDTHS = (9, 12, 10, 8)  # latent, 4×4, 8×8, 16×16: all different, and wide enough that no pixel's
# features are all near zero, where pixel norm would multiply float32's rounding


def random_network(seed: int = 0) -> ProGAN:
    torch.manual_seed(seed)
    network = ProGAN(WIDTHS)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)  # biases too, so that a lost bias shows
    return network.eval()


def numpy_convolution(x: np.ndarray, w: np.ndarray, padding: int) -> np.ndarray:
    """Σ w[o, i, a, b] · x[n, i, y + a − p, x + b − p], written as the sum it is."""
    kernel = w.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height = padded.shape[2] - kernel + 1
    out = np.zeros((len(x), len(w), height, height))
    for a in range(kernel):
        for b in range(kernel):
            window = padded[:, :, a : a + height, b : b + height]
            out += np.einsum("oi,niyx->noyx", w[:, :, a, b], window)
    return out


def numpy_pixel_norm(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)


def numpy_images(state: Mapping[str, np.ndarray], latents: np.ndarray) -> np.ndarray:
    """The whole generator from the paper's description, in float64 and without torch."""
    x = latents.astype(np.float64)[:, :, None, None]
    number = 1
    while f"layer{number}.conv.weight" in state:
        w = state[f"layer{number}.conv.weight"]
        x = numpy_pixel_norm(x)
        if number > 1 and number % 2 == 1:
            x = x.repeat(2, axis=2).repeat(2, axis=3)
        x = numpy_convolution(x, w, padding=3 if number == 1 else 1)
        x = x * np.sqrt(2 / (w.shape[2] ** 2 * w.shape[1]))
        x = x + state[f"layer{number}.wscale.b"][:, None, None]
        x = np.where(x > 0, x, 0.2 * x)
        number += 1
    output = f"output_{x.shape[2]}x{x.shape[2]}"
    w = state[f"{output}.conv.weight"]
    x = numpy_convolution(numpy_pixel_norm(x), w, padding=0) / np.sqrt(w.shape[1])
    return np.clip(x + state[f"{output}.wscale.b"][:, None, None], -1, 1)


def arrays(network: ProGAN) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "toy.safetensors"
    save_file(random_network().state_dict(), path)
    return path


def test_an_independent_forward_pass_in_numpy_agrees(weights: Path) -> None:
    generator = load_generator(f"progan:{weights}")
    latents = generator.latents(range(4), seed=1)
    expected = numpy_images(arrays(random_network()), latents.numpy())
    assert (np.abs(expected) < 1).mean() > 0.3  # the clamp must not hide the comparison
    # float32 rounding through seven layers
    np.testing.assert_allclose(generator(latents).numpy(), expected, atol=1e-5)


def test_shapes_and_names_follow_from_the_state_dict(weights: Path) -> None:
    generator = load_generator(f"progan:{weights}")
    assert isinstance(generator, Generator)
    assert generator.layer_names == (*(f"layer{n}" for n in range(1, 7)), "output_16x16")
    assert (generator.latent_size, generator.resolution) == (9, 16)


def test_the_papers_widths_give_fifteen_layers_and_r4_of_512_by_8_by_8() -> None:
    with torch.device("meta"):  # shapes without the 23 M weights
        network = ProGAN((512, 512, 512, 512, 256, 128, 64, 32))
        r4 = network.get_submodule("layer1")(torch.empty(1, 512))
        for name in ("layer2", "layer3", "layer4"):
            r4 = network.get_submodule(name)(r4)
    assert len(list(network.children())) == 15
    assert network.resolution == 256
    assert r4.shape == (1, 512, 8, 8)


def test_latents_are_the_papers(weights: Path) -> None:
    generator = load_generator(f"progan:{weights}")
    stream = np.random.RandomState(1).standard_normal(10 * 9).reshape(10, 9).astype(np.float32)
    np.testing.assert_array_equal(generator.latents(range(10), seed=1).numpy(), stream)


def test_image_k_is_the_same_for_every_batch_size_count_and_order(weights: Path) -> None:
    generator = load_generator(f"progan:{weights}")
    together = generator(generator.latents(range(9), seed=3))
    for indices in ([0, 1], [2, 3, 4, 5], [8, 6, 7], [8], [4]):
        images = generator(generator.latents(indices, seed=3))
        # float32 rounding, which depends on how a batch is cut for the cores
        torch.testing.assert_close(images, together[indices], atol=1e-4, rtol=0)


@pytest.mark.parametrize("layer", ["layer1", "layer4", "output_16x16"])
def test_tail_after_head_is_the_generator_and_weights_are_shared(weights: Path, layer: str) -> None:
    generator = load_generator(f"progan:{weights}")
    head, tail = generator.split(layer)
    latents = generator.latents([0, 1])
    torch.testing.assert_close(tail(head(latents)), generator(latents), atol=0, rtol=0)
    assert next(iter(head.state_dict())) == "layer1.conv.weight"
    latents.requires_grad_()
    assert tail(head(latents)).sum().requires_grad  # an inverter needs gradients to the input


def test_splitting_at_an_unknown_layer_names_those_there_are(weights: Path) -> None:
    with pytest.raises(SpecError, match="no layer 'layer9'; it has layer1, layer2"):
        load_generator(f"progan:{weights}").split("layer9")


def test_images_are_clamped_and_without_gradient(weights: Path) -> None:
    generator = load_generator(f"progan:{weights}")
    images = generator(generator.latents(range(4)) * 100)
    assert images.abs().max() == 1
    assert not images.requires_grad


def test_bf16_is_close_and_comes_as_float32(weights: Path) -> None:
    exact = load_generator(f"progan:{weights}")
    fast = load_generator(f"progan:{weights}", precision="bf16")
    latents = exact.latents(range(4))
    assert fast(latents).dtype == torch.float32
    # bf16 has 8 bits: 0.4 % a layer, over seven layers, of values up to about 3
    assert (fast(latents) - exact(latents)).abs().mean() < 0.05


def older_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for key, tensor in state.items():
        layer, rest = key.split(".", 1)
        old = "output" if layer.startswith("output") else f"features.{int(layer[5:]) - 1}"
        renamed[f"{old}.{rest}"] = tensor
    return renamed


def test_the_older_key_names_give_the_same_images(tmp_path: Path, weights: Path) -> None:
    torch.save(older_names(random_network().state_dict()), tmp_path / "older.pth")
    older = load_generator(f"progan:{tmp_path / 'older.pth'}")
    newer = load_generator(f"progan:{weights}")
    latents = newer.latents(range(2))
    torch.testing.assert_close(older(latents), newer(latents), atol=0, rtol=0)


def test_an_older_file_may_hold_the_constants_but_not_learned_ones(tmp_path: Path) -> None:
    state = older_names(random_network().state_dict())
    state["features.1.wscale.scale"] = torch.tensor([(2 / (9 * 12)) ** 0.5])  # 3×3, 12 channels in
    torch.save(state, tmp_path / "constant.pth")
    assert load_generator(f"progan:{tmp_path / 'constant.pth'}").resolution == 16
    state["features.1.wscale.scale"] = torch.tensor([0.5])
    torch.save(state, tmp_path / "learned.pth")
    with pytest.raises(CheckpointError, match=r"learned features\.1\.wscale\.scale of 0\.5"):
        load_generator(f"progan:{tmp_path / 'learned.pth'}")


def tensorflow_variables(fused: bool) -> dict[str, np.ndarray]:
    """Random variables under NVIDIA's names, in TensorFlow's axis order."""
    rng = np.random.default_rng(0)
    z, *widths = WIDTHS
    variables = {"lod": rng.standard_normal(())}
    for level, width in enumerate(widths):
        scope = f"{4 * 2**level}x{4 * 2**level}"
        before = z if level == 0 else widths[level - 1]
        if level == 0:
            variables[f"{scope}/Dense/weight"] = rng.standard_normal((before, width * 16))
            variables[f"{scope}/Dense/bias"] = rng.standard_normal(width)
        elif fused:
            variables[f"{scope}/Conv0_up/weight"] = rng.standard_normal((3, 3, width, before))
            variables[f"{scope}/Conv0_up/bias"] = rng.standard_normal(width)
        else:
            variables[f"{scope}/Conv0/weight"] = rng.standard_normal((3, 3, before, width))
            variables[f"{scope}/Conv0/bias"] = rng.standard_normal(width)
        second = f"{scope}/{'Conv' if level == 0 else 'Conv1'}"
        variables[f"{second}/weight"] = rng.standard_normal((3, 3, width, width))
        variables[f"{second}/bias"] = rng.standard_normal(width)
        lod = len(widths) - 1 - level
        variables[f"ToRGB_lod{lod}/weight"] = rng.standard_normal((1, 1, width, 3))
        variables[f"ToRGB_lod{lod}/bias"] = rng.standard_normal(3)
    return {name: array.astype(np.float32) for name, array in variables.items()}


def transposed_convolution(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Twice the size: every pixel adds its kernel (4 4 out in), stride 2, one pixel cropped."""
    n, _, height, width = x.shape
    out = np.zeros((n, w.shape[2], 2 * height + 2, 2 * width + 2))
    for y in range(height):
        for c in range(width):
            out[:, :, 2 * y : 2 * y + 4, 2 * c : 2 * c + 4] += np.einsum(
                "aboi,ni->noab", w, x[:, :, y, c]
            )
    return out[:, :, 1:-1, 1:-1]


def tensorflow_images(variables: Mapping[str, np.ndarray], latents: np.ndarray) -> np.ndarray:
    """NVIDIA's network as its own code runs it: dense, fused upscaling, norm after activation."""

    def activate(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
        x = x + bias[:, None, None]
        return numpy_pixel_norm(np.where(x > 0, x, 0.2 * x))

    x = numpy_pixel_norm(latents.astype(np.float64))
    w = variables["4x4/Dense/weight"]
    x = (x @ (w * np.sqrt(2) / 4 / np.sqrt(len(w)))).reshape(len(x), -1, 4, 4)
    x = activate(x, variables["4x4/Dense/bias"])

    def convolution(x: np.ndarray, name: str) -> np.ndarray:
        w = variables[f"{name}/weight"]
        scaled = w * np.sqrt(2 / (9 * w.shape[2]))
        x = numpy_convolution(x, scaled.transpose(3, 2, 0, 1), padding=1)
        return activate(x, variables[f"{name}/bias"])

    x = convolution(x, "4x4/Conv")
    for scope in ("8x8", "16x16"):
        if f"{scope}/Conv0_up/weight" in variables:
            w = variables[f"{scope}/Conv0_up/weight"]
            w = np.pad(w * np.sqrt(2 / (9 * w.shape[3])), ((1, 1), (1, 1), (0, 0), (0, 0)))
            w = w[1:, 1:] + w[:-1, 1:] + w[1:, :-1] + w[:-1, :-1]
            x = activate(transposed_convolution(x, w), variables[f"{scope}/Conv0_up/bias"])
        else:
            x = convolution(x.repeat(2, axis=2).repeat(2, axis=3), f"{scope}/Conv0")
        x = convolution(x, f"{scope}/Conv1")
    w = variables["ToRGB_lod0/weight"]
    x = np.einsum("io,niyx->noyx", w[0, 0] / np.sqrt(w.shape[2]), x)
    return np.clip(x + variables["ToRGB_lod0/bias"][:, None, None], -1, 1)


@pytest.mark.parametrize("fused", [True, False])
def test_tensorflow_variables_draw_what_their_own_network_draws(
    tmp_path: Path, fused: bool
) -> None:
    variables = tensorflow_variables(fused)
    np.savez(tmp_path / "nvidia.npz", **{f"G_paper/{k}:0": v for k, v in variables.items()})
    generator = load_generator(f"progan:{tmp_path / 'nvidia.npz'}")
    latents = generator.latents(range(3), seed=1)
    expected = tensorflow_images(variables, latents.numpy())
    assert (np.abs(expected) < 1).mean() > 0.3  # the clamp must not hide the comparison
    # float32 rounding through seven layers
    np.testing.assert_allclose(generator(latents).numpy(), expected, atol=1e-5)


def test_a_tensorflow_file_without_a_layer_says_which() -> None:
    variables = tensorflow_variables(fused=True)
    del variables["8x8/Conv0_up/bias"]
    tensors = {name: torch.from_numpy(array) for name, array in variables.items()}
    with pytest.raises(CheckpointError, match="8x8/Conv0_up/bias"):
        state_dict_from_tensorflow(Checkpoint(Path("nvidia.npz"), tensors))


def broken(change: str) -> dict[str, torch.Tensor]:
    state = dict(random_network().state_dict())
    if change == "other family":
        return {"fc.weight": torch.zeros(2, 2)}
    if change == "missing bias":
        del state["layer3.wscale.b"]
    elif change == "missing layer":
        del state["layer3.conv.weight"]
    elif change == "shape":
        state["layer4.conv.weight"] = torch.zeros(10, 7, 3, 3)
    elif change == "left over":
        state["mapping.weight"] = torch.zeros(1)
    elif change == "nan":
        state["layer2.wscale.b"] = torch.full((12,), torch.nan)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("other family", "holds no ProGAN: found fc.weight"),
        ("missing bias", "lacks layer3.wscale.b"),
        ("missing layer", r"no usable layer3.conv.weight"),
        ("shape", r"layer4.conv.weight of shape \(10, 7, 3, 3\).*\(10, 10, 3, 3\)"),
        ("left over", "also holds mapping.weight"),
        ("nan", "not finite.*layer2.wscale.b"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        network_from_state_dict(broken(change), "broken.pth")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match=r"broken\.npz"):
        load_generator(f"progan:{tmp_path / 'broken.npz'}")


def test_a_name_that_is_neither_file_nor_published_is_refused() -> None:
    with pytest.raises(SpecError, match="neither a file nor a published name; published: church"):
        load_generator("progan:cathedral")


def test_an_unknown_device_is_refused(weights: Path) -> None:
    with pytest.raises(SpecError, match="device 'gpu9' is not known; known: cpu, cuda"):
        load_generator(f"progan:{weights}", device="gpu9")


def test_training_stops_no_gradient_by_the_clamp() -> None:
    network = random_network().train()
    images = network(torch.randn(2, 9, generator=torch.Generator().manual_seed(0)) * 100)
    assert images.abs().max() > 1
