"""The ablations of ProGAN: each layout against an independent forward pass in NumPy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from unseen.core.errors import CheckpointError, SpecError
from unseen.generators import load_generator
from unseen.generators.ablations import PUBLISHED, Ablation, Layout

WIDTHS = (9, 12, 10, 8)  # latent, 4×4, 8×8, 16×16: all different
LAYOUTS: list[Layout] = ["batch-norm", "bias", "scale", "scale-pixel-norm"]


def published_state(layout: Layout) -> dict[str, torch.Tensor]:
    """Random weights under the published files' names."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, tensor in Ablation(layout, widths=WIDTHS).state_dict().items():
        layer, rest = key.split(".", 1)
        name = "output" if layer == "output" else f"features.{int(layer[5:]) - 1}"
        value = torch.randn(tensor.shape, generator=generator) * (
            0.15 if rest == "conv.weight" else 0.5
        )
        if rest in ("norm.running_var", "norm.weight", "wscale.scale"):
            value = value.abs() + 0.5
        state[f"{name}.{rest}"] = torch.tensor(3) if rest.endswith("tracked") else value
    return state


def write(folder: Path, layout: Layout) -> Path:
    path = folder / f"{layout}.pth"
    torch.save(published_state(layout), path)
    return path


def numpy_convolution(x: np.ndarray, w: np.ndarray, padding: int) -> np.ndarray:
    kernel = w.shape[2]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
    return np.einsum("niyxab,oiab->noyx", windows, w)


def numpy_images(
    state: Mapping[str, np.ndarray], layout: Layout, latents: np.ndarray, *, batch: bool = False
) -> np.ndarray:
    """The layout as the design states it, in float64 and without torch."""

    def pixel_norm(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)

    def column(name: str) -> np.ndarray:
        return state[name][:, None, None]

    x = latents.astype(np.float64)[:, :, None, None]
    for block in range(6):
        at = f"features.{block}"
        if layout == "scale-pixel-norm" or (layout != "batch-norm" and block == 0):
            x = pixel_norm(x)
        if block in (2, 4):
            x = x.repeat(2, axis=2).repeat(2, axis=3)
        x = numpy_convolution(x, state[f"{at}.conv.weight"], 3 if block == 0 else 1)
        if layout == "batch-norm":
            mean, var = column(f"{at}.norm.running_mean"), column(f"{at}.norm.running_var")
            if batch:
                mean = x.mean(axis=(0, 2, 3))[:, None, None]
                var = x.var(axis=(0, 2, 3))[:, None, None]
            x = (x - mean) / np.sqrt(var + 1e-5)  # torch's default epsilon
            x = np.maximum(x * column(f"{at}.norm.weight") + column(f"{at}.norm.bias"), 0)
            continue
        if layout == "bias":
            x = x + column(f"{at}.conv.bias")
        else:
            x = x * state[f"{at}.wscale.scale"] + column(f"{at}.wscale.b")
        x = np.where(x > 0, x, 0.2 * x)
    if layout in ("batch-norm", "bias"):
        x = numpy_convolution(x, state["output.conv.weight"], 0) + column("output.conv.bias")
    else:
        x = numpy_convolution(pixel_norm(x), state["output.conv.weight"], 0)
        x = x * state["output.wscale.scale"] + column("output.wscale.b")
    return np.clip(x, -1, 1)


def spec(path: Path, layout: Layout) -> str:
    return f"ablation:{path}" + ("?pixel_norm=all" if layout == "scale-pixel-norm" else "")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_independent_forward_pass_in_numpy_agrees(tmp_path: Path, layout: Layout) -> None:
    generator = load_generator(spec(write(tmp_path, layout), layout))
    latents = generator.latents(range(3), seed=1)
    state = {name: tensor.numpy() for name, tensor in published_state(layout).items()}
    expected = numpy_images(state, layout, latents.numpy())
    assert (np.abs(expected) < 1).mean() > 0.3  # the clamp must not hide the comparison
    # float32 rounding through seven layers
    np.testing.assert_allclose(generator(latents).numpy(), expected, atol=1e-5)
    assert generator.provenance["layout"] == layout


def test_batch_norm_by_the_batch_agrees_and_changes_no_buffer(tmp_path: Path) -> None:
    path = write(tmp_path, "batch-norm")
    generator = load_generator(f"wgan-gp:{path}?batch_norm=batch")
    latents = generator.latents(range(5), seed=1)
    state = {name: tensor.numpy() for name, tensor in published_state("batch-norm").items()}
    expected = numpy_images(state, "batch-norm", latents.numpy(), batch=True)
    # float32 rounding through seven layers
    np.testing.assert_allclose(generator(latents).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(generator(latents).numpy(), expected, atol=1e-5)
    assert generator.provenance["batch_norm"] == "batch"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_k_is_the_same_for_every_batch_size(tmp_path: Path, layout: Layout) -> None:
    generator = load_generator(spec(write(tmp_path, layout), layout))
    together = generator(generator.latents(range(7)))
    for indices in ([3], [6, 2], [0, 1, 2, 3, 4]):
        # float32 rounding, which depends on how a batch is cut for the cores
        torch.testing.assert_close(
            generator(generator.latents(indices)), together[indices], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tail_after_head_is_the_generator(tmp_path: Path, layout: Layout) -> None:
    generator = load_generator(spec(write(tmp_path, layout), layout))
    assert generator.layer_names == (*(f"layer{n}" for n in range(1, 7)), "output")
    head, tail = generator.split("layer4")
    latents = generator.latents([0, 1])
    assert head(latents).shape == (2, 10, 8, 8)
    torch.testing.assert_close(tail(head(latents)), generator(latents), atol=0, rtol=0)


@pytest.mark.parametrize(("name", "layout"), PUBLISHED.items())
def test_the_published_sizes_give_128_pixels_from_twelve_blocks(name: str, layout: Layout) -> None:
    with torch.device("meta"):  # shapes without the weights
        network = Ablation(layout)
    assert network.resolution == 128
    assert [child for child, _ in network.named_children()][-2:] == ["layer12", "output"]
    assert network.widths[0] == (
        128 if name in ("wgangp", "small-minibatch") else network.widths[0]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wgan-gp:{bias}", "has the layout bias, batch-norm was needed; load it with ablation:"),
        ("ablation:{scale}?batch_norm=batch", "has no batch norm; leave batch_norm out"),
        ("ablation:{bias}?pixel_norm=all", "pixel_norm is for files with learned scales only"),
        ("wgan-gp:{batch-norm}?batch_norm=none", "known: running, batch"),
        ("ablation:nothing", "neither a file nor a published name; published: wgangp"),
        ("ablation", "names no file"),
        ("ablation:{missing}", "lacks features.3.conv.bias"),
        ("ablation:{other}", "holds no ablation of ProGAN: found x, needed"),
        ("ablation:{nan}", "not finite"),
        ("ablation:{more}", "also holds extra"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    paths = {layout: write(tmp_path, layout) for layout in LAYOUTS}
    state = published_state("bias")
    damaged = {
        "missing": {k: v for k, v in state.items() if k != "features.3.conv.bias"},
        "other": {"x": torch.zeros(1)},
        "nan": {**state, "output.conv.bias": torch.full((3,), torch.nan)},
        "more": {**state, "extra": torch.zeros(1)},
    }
    for name, content in damaged.items():
        torch.save(content, tmp_path / f"{name}.pth")
    named = {name: str(tmp_path / f"{name}.pth") for name in (*paths, *damaged)}
    with pytest.raises((CheckpointError, SpecError), match=message):
        load_generator(text.format(**named))
