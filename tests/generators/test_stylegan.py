"""StyleGAN of 2019 agrees with an independent forward pass over TensorFlow's own definitions."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.signal import convolve2d, correlate2d
from tests.support.tensors import assert_batches_alike

from unseen.core.errors import CheckpointError
from unseen.core.registry import parse_spec
from unseen.generators.stylegan import load_stylegan


def variables(levels: int, *, classes: int = 0, first: int = 4) -> dict[str, np.ndarray]:
    """Random variables under NVIDIA's names; no bias, noise weight or mean is zero."""
    random = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    latents, width = 6, 7
    widths = [max(first - level, 2) for level in range(levels)]
    made = {"lod": np.float32(0), "dlatent_avg": normal(width), "synthesis/lod": np.float32(0)}
    if classes:
        made["mapping/LabelConcat/weight"] = normal(classes, latents)
    rows = 2 * latents if classes else latents
    for number in range(2):
        made[f"mapping/Dense{number}/weight"] = normal(rows, width) * 10
        made[f"mapping/Dense{number}/bias"] = normal(width) * 5
        rows = width
    for level, channels in enumerate(widths):
        side = 4 << level
        for number, name in enumerate(("Conv0_up", "Conv1") if level else ("Const", "Conv")):
            scope = f"synthesis/{side}x{side}/{name}"
            if name == "Const":
                made[f"{scope}/const"] = normal(1, channels, 4, 4)
            else:
                inputs = widths[level - 1] if name == "Conv0_up" else channels
                made[f"{scope}/weight"] = normal(3, 3, inputs, channels)
            made[f"{scope}/bias"] = normal(channels)
            made[f"{scope}/Noise/weight"] = normal(channels) * 0.3
            made[f"{scope}/StyleMod/weight"] = normal(width, 2 * channels)
            made[f"{scope}/StyleMod/bias"] = normal(2 * channels)
            made[f"synthesis/noise{2 * level + number}"] = normal(1, 1, side, side)
        lod = levels - 1 - level
        made[f"synthesis/ToRGB_lod{lod}/weight"] = normal(1, 1, channels, 3) * 0.3
        made[f"synthesis/ToRGB_lod{lod}/bias"] = normal(3) * 0.1
    return made


def load(path: Path, options: str = "") -> Any:
    return load_stylegan(parse_spec(f"stylegan:{path}{options}"))


def numpy_images(
    given: dict[str, np.ndarray],
    z: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    psi: float = 1.0,
    cutoff: int | None = None,
    fused_from: int = 128,
) -> np.ndarray:
    """TensorFlow's operations written out; fused upsampling by its own summed 4×4 kernel."""
    p = {name: np.asarray(value, np.float64) for name, value in given.items()}

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0.2 * x)

    x = z if labels is None else np.concatenate([z, labels @ p["mapping/LabelConcat/weight"]], 1)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)
    for number in range(2):
        weight = p[f"mapping/Dense{number}/weight"]
        scale = math.sqrt(2) / math.sqrt(len(weight)) * 0.01
        x = leaky(x @ weight * scale + p[f"mapping/Dense{number}/bias"] * 0.01)
    levels = sum(name.endswith("Conv1/weight") for name in p) + 1
    styles = np.repeat(x[:, None], 2 * levels, axis=1)
    styles[:, :cutoff] = p["dlatent_avg"] + psi * (styles[:, :cutoff] - p["dlatent_avg"])

    def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """tf.nn.conv2d, padding SAME: correlation."""
        return np.stack(
            [
                sum(correlate2d(np.pad(c, 1), kernel[:, :, i, o], "valid") for i, c in enumerate(x))
                for o in range(kernel.shape[3])
            ]
        )

    def upsampled(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        side = 2 * x.shape[1]
        if side < fused_from:
            return convolved(x.repeat(2, axis=1).repeat(2, axis=2), kernel)
        wide = np.pad(kernel, [(1, 1), (1, 1), (0, 0), (0, 0)])
        wide = wide[1:, 1:] + wide[:-1, 1:] + wide[1:, :-1] + wide[:-1, :-1]
        out = []
        for o in range(kernel.shape[3]):
            total = np.zeros((side + 2, side + 2))
            for i, channel in enumerate(x):
                stuffed = np.zeros((side - 1, side - 1))
                stuffed[::2, ::2] = channel
                total += convolve2d(stuffed, wide[:, :, i, o])  # the transposed convolution
            out.append(total[1:-1, 1:-1])  # padding SAME
        return np.stack(out)

    blur = np.outer([1, 2, 1], [1, 2, 1]) / 16
    images = []
    for style in styles:
        x = np.empty(0)
        for level in range(levels):
            side = 4 << level
            for number, name in enumerate(("Conv0_up", "Conv1") if level else ("Const", "Conv")):
                scope, layer = f"synthesis/{side}x{side}/{name}", 2 * level + number
                if name == "Const":
                    x = p[f"{scope}/const"][0]
                else:
                    kernel = p[f"{scope}/weight"]
                    kernel = kernel * math.sqrt(2) / math.sqrt(9 * kernel.shape[2])
                    x = upsampled(x, kernel) if name == "Conv0_up" else convolved(x, kernel)
                    if name == "Conv0_up":
                        x = np.stack([correlate2d(np.pad(c, 1), blur, "valid") for c in x])
                noise = p[f"synthesis/noise{layer}"][0]
                x = x + noise * p[f"{scope}/Noise/weight"][:, None, None]
                x = leaky(x + p[f"{scope}/bias"][:, None, None])
                x = x - x.mean(axis=(1, 2), keepdims=True)
                x = x / np.sqrt((x**2).mean(axis=(1, 2), keepdims=True) + 1e-8)
                weight = p[f"{scope}/StyleMod/weight"]
                both = style[layer] @ weight / math.sqrt(len(weight)) + p[f"{scope}/StyleMod/bias"]
                scale, shift = both.reshape(2, -1, 1, 1)
                x = x * (scale + 1) + shift
        weight = p["synthesis/ToRGB_lod0/weight"][0, 0] / math.sqrt(len(x))
        image = np.einsum("io,ihw->ohw", weight, x) + p["synthesis/ToRGB_lod0/bias"][:, None, None]
        images.append(image)
    return np.clip(np.stack(images), -1, 1)


@pytest.mark.parametrize(
    ("levels", "settings"),
    [
        (3, {}),
        (3, {"fused_scale": True}),
        (6, {}),  # 128×128, where NVIDIA's code begins to fuse
    ],
    ids=["16 pixels", "fused", "128 pixels"],
)
def test_images_agree_with_an_independent_forward_pass(
    write_tensorflow: Any, levels: int, settings: dict[str, Any]
) -> None:
    made = variables(levels, first=3)
    generator = load(write_tensorflow(made, settings), "?psi=0.7&cutoff=3")
    assert generator.resolution == 4 << (levels - 1)
    latents = generator.latents(range(2))
    images = generator(latents).numpy()
    fused_from = 4 if settings else 128
    expected = numpy_images(
        made, latents.double().numpy(), psi=0.7, cutoff=3, fused_from=fused_from
    )
    assert np.mean(np.abs(images) < 1) > 0.5  # or the comparison would be of clamped values
    # float32 against float64: rounding of 6e-8 a term, enlarged by each instance norm
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_labels_agree_with_the_independent_forward_pass(write_tensorflow: Any) -> None:
    made = variables(2, classes=3)
    generator = load(write_tensorflow(made, {}), "?class=cycle")
    latents = generator.latents([1, 5]).double().numpy()
    expected = numpy_images(made, latents[:, :6], latents[:, 6:])
    images = generator(generator.latents([1, 5])).numpy()
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_image_k_is_the_same_for_every_batch_size(write_tensorflow: Any, noise: str) -> None:
    generator = load(write_tensorflow(variables(3), {}), f"?noise={noise}")
    assert_batches_alike(generator, 5, (1, 3))


def test_variables_in_npz_and_safetensors_draw_what_the_pickle_does(
    write_tensorflow: Any, tmp_path: Path
) -> None:
    made = variables(3)
    pickled = load(write_tensorflow(made, {}))
    # tflib's own listing: components under the names of their functions.
    named = {
        f"G_{name}" if name.startswith(("mapping/", "synthesis/")) else name: np.asarray(value)
        for name, value in made.items()
    }
    np.savez(tmp_path / "toy.npz", **named)
    save_file(
        {f"Gs/{name}:0": np.asarray(value) for name, value in made.items()},
        tmp_path / "toy.safetensors",
    )
    latents = pickled.latents(range(2))
    assert torch.equal(load(tmp_path / "toy.npz")(latents), pickled(latents))
    assert torch.equal(load(tmp_path / "toy.safetensors")(latents), pickled(latents))


def test_head_and_tail_compose_to_the_generator(write_tensorflow: Any) -> None:
    generator = load(write_tensorflow(variables(3), {}))
    assert generator.layer_names == ("mapping", "b4", "b8", "b16")
    latents = generator.latents(range(2))
    for layer in generator.layer_names:
        head, tail = generator.split(layer)
        assert torch.equal(tail(head(latents)).clamp(-1, 1), generator(latents))


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        ({"lod": np.float32(1.5)}, {}, "still growing"),
        ({}, {"use_pixel_norm": True}, "use_pixel_norm=True"),
        ({}, {"blur_filter": None}, "blur_filter=None"),
        ({"synthesis/4x4/Conv/mod_weight": np.zeros((1, 1))}, {}, "stylegan2:FILE"),
        ({"synthesis/8x8/Conv0_up/bias": np.zeros(9, np.float32)}, {}, "shape"),
        ({"synthesis/noise3": np.zeros((8, 8), np.float32)}, {}, "4 axes"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    write_tensorflow: Any, change: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(CheckpointError, match=says):
        load(write_tensorflow(variables(2) | change, settings))


def test_an_npz_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", lod=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="no readable"):
        load(tmp_path / "objects.npz")
