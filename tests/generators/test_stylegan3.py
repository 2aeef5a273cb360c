"""StyleGAN3 agrees with an independent forward pass, for filters of both configurations."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import convolve2d, correlate2d, firwin, upfirdn
from tests.support.tensors import assert_batches_alike

from unseen.core.errors import CheckpointError, SpecError
from unseen.core.registry import parse_spec
from unseen.generators.stylegan3 import (
    FourierInput,
    LayerDesign,
    StyleGAN3,
    load_stylegan3,
    network_from_saved,
)
from unseen.generators.styles import MappingNetwork
from unseen.weights import Checkpoint

# A 16-pixel network with a margin of 2: rates 8, 8, 16, 16; the last two layers have no margin.
# (number, channels, size, up, down): the second doubles the rate, the third drops the margin.
LAYERS = ((0, 5, 12, 2, 2), (1, 4, 20, 4, 2), (2, 3, 16, 2, 2), (3, 3, 16, 1, 1))
TAPS = 6  # a filter's taps at the lower rate


def designs(kernel: int = 3, *, radial: bool = False, clamp: float = 256.0) -> list[LayerDesign]:
    made = []
    inputs, in_size = 5, 12
    for number, outputs, size, up, down in LAYERS:
        last = number == len(LAYERS) - 1
        square = radial and number < 2  # critically sampled layers keep separable filters
        down_shape = (TAPS * down,) * (2 if square else 1)
        made.append(
            LayerDesign(
                inputs=inputs,
                outputs=outputs,
                in_size=in_size,
                out_size=size,
                kernel=1 if last else kernel,
                up=up,
                down=down,
                up_filter=None if last else (TAPS * up,),
                down_filter=None if last else down_shape,
                clamp=clamp,
            )
        )
        inputs, in_size = outputs, size
    return made


def toy(kernel: int = 3, *, radial: bool = False, clamp: float = 256.0) -> StyleGAN3:
    torch.manual_seed(3)
    mapping = MappingNetwork(latents=6, classes=0, width=7, layers=2, styles=len(LAYERS) + 1)
    waves = FourierInput(5, width=7, size=12, rate=8.0, bandwidth=2.0)
    network = StyleGAN3(mapping, waves, designs(kernel, radial=radial, clamp=clamp))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
        waves.affine.weight.normal_()  # so that w moves the canvas
        mapping.w_avg.normal_()
        for name, buffer in network.named_buffers():
            if name.endswith("magnitude_ema"):
                buffer.fill_(0.5 + torch.rand(()))
            if name.endswith("filter"):
                taps = torch.from_numpy(firwin(buffer.shape[-1], 0.4)).float()
                # Uneven, so that a mirrored filter shows.
                taps = taps * torch.linspace(0.8, 1.2, len(taps))
                buffer.copy_(torch.outer(taps, taps.flip(0)) if buffer.ndim == 2 else taps)
    return network


def nvidia_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        key if key.startswith("mapping.") else f"synthesis.{key}": tensor.clone()
        for key, tensor in network.state_dict().items()
    }


def nvidia_settings(network: StyleGAN3, clamp: float = 256.0) -> dict[str, dict[str, Any]]:
    """The attributes of NVIDIA's modules, NumPy numbers among them, as theirs are."""
    settings: dict[str, dict[str, Any]] = {
        "synthesis": {"output_scale": 0.25},
        "synthesis.input": {"sampling_rate": np.float64(8), "bandwidth": np.float64(2)},
    }
    for (_, _, _, up, down), name in zip(LAYERS, list(network._modules)[2:], strict=True):
        settings[f"synthesis.{name}"] = {
            "up_factor": up,
            "down_factor": down,
            "conv_clamp": clamp,
            "in_size": np.array([12, 12]),
        }
    return settings


def load(path: Path, options: str = "") -> Any:
    return load_stylegan3(parse_spec(f"stylegan3:{path}{options}"))


# An independent forward pass: SciPy's upfirdn for the separable filters, loops for the rest.


def numpy_images(
    state: dict[str, torch.Tensor], z: np.ndarray, *, psi: float = 1.0, clamp: float = 256.0
) -> np.ndarray:
    p = {key: tensor.double().numpy() for key, tensor in state.items()}

    def affine(name: str, x: np.ndarray, m: float = 1.0) -> np.ndarray:
        weight = p[f"{name}.weight"]
        return x @ weight.T * (m / math.sqrt(weight.shape[1])) + p[f"{name}.bias"] * m

    def activated(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    w = z / np.sqrt((z**2).mean(axis=1, keepdims=True) + 1e-8)
    for layer in range(2):
        w = activated(affine(f"mapping.fc{layer}", w, 0.01))
    w = p["mapping.w_avg"] + psi * (w - p["mapping.w_avg"])

    def canvas(style: np.ndarray) -> np.ndarray:
        t = affine("synthesis.input.affine", style)
        t = t / np.hypot(t[0], t[1])
        rotate = np.array([[t[0], -t[1], 0], [t[1], t[0], 0], [0, 0, 1]])
        translate = np.array([[1, 0, -t[2]], [0, 1, -t[3]], [0, 0, 1]])
        motion = rotate @ translate @ p["synthesis.input.transform"]
        x = np.empty((5, 12, 12))
        for i in range(12):
            for j in range(12):
                place = motion @ np.array([(j - 5.5) / 8, (i - 5.5) / 8, 1.0])
                turns = p["synthesis.input.freqs"] @ place[:2] + p["synthesis.input.phases"]
                x[:, i, j] = np.sin(2 * np.pi * turns)
        norms = np.linalg.norm(p["synthesis.input.freqs"] @ motion[:2, :2], axis=1)
        x *= np.clip(1 - (norms - 2) / (4 - 2), 0, 1)[:, None, None]
        return np.einsum("dc,cij->dij", p["synthesis.input.weight"] / math.sqrt(5), x)

    def filtered(x: np.ndarray, taps: np.ndarray, up: int, down: int) -> np.ndarray:
        """The full convolution of the stuffed map."""
        if taps.ndim == 2:
            wide = np.zeros((x.shape[0] * up, x.shape[1] * up))
            wide[::up, ::up] = x
            return convolve2d(wide, taps)[::down, ::down]
        return upfirdn(taps, upfirdn(taps, x, up, down, axis=0), up, down, axis=1)

    images = []
    for style in w:
        x, size = canvas(style), 12
        for number, outputs, out_size, up, down in LAYERS:
            name = f"synthesis.L{number}_{out_size}_{outputs}"
            last = number == len(LAYERS) - 1
            scale = affine(f"{name}.affine", style)
            kernel = p[f"{name}.weight"]
            side = kernel.shape[-1]
            if last:
                kernel = kernel * scale[None, :, None, None] / math.sqrt(kernel.shape[1])
            else:
                kernel = kernel / np.sqrt((kernel**2).mean(axis=(1, 2, 3), keepdims=True))
                kernel = kernel * (scale / np.sqrt((scale**2).mean()))[None, :, None, None]
                kernel = kernel / np.sqrt((kernel**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
            kernel = kernel / np.sqrt(p[f"{name}.magnitude_ema"])
            x = np.stack(
                [
                    sum(
                        correlate2d(np.pad(c, side - 1), k, "valid")
                        for c, k in zip(x, filters, strict=True)
                    )
                    for filters in kernel
                ]
            )
            x = x + p[f"{name}.bias"][:, None, None]
            if not last:
                taps_up, taps_down = p[f"{name}.up_filter"], p[f"{name}.down_filter"]
                length = (out_size - 1) * down + 1 + len(taps_down) - 1  # before downsampling
                total = length - ((size + side - 1) * up - len(taps_up) + 1)
                before = (total + up) // 2
                start = len(taps_up) - 1 - before  # where the wanted part of the full one begins
                maps = []
                for c in x:
                    full = np.pad(filtered(c, taps_up, up, 1), 40)
                    maps.append(full[40 + start :, 40 + start :][:length, :length] * up**2)
                x = np.clip(activated(np.stack(maps)), -clamp, clamp)
                skip = len(taps_down) - 1
                x = np.stack([filtered(c, taps_down, 1, 1)[skip:-skip, skip:-skip] for c in x])
                x = x[:, ::down, ::down]
            else:
                x = np.clip(x, -clamp, clamp)
            size = out_size
        images.append(x * 0.25)
    return np.clip(np.stack(images), -1, 1)


@pytest.mark.parametrize(
    ("kernel", "radial", "clamp"),
    [(3, False, 256.0), (1, True, 256.0), (3, False, 0.5)],
    ids=["configuration T", "configuration R", "clamped"],
)
def test_images_agree_with_an_independent_forward_pass(
    write_network: Any, kernel: int, radial: bool, clamp: float
) -> None:
    network = toy(kernel, radial=radial, clamp=clamp)
    state = nvidia_state(network)
    generator = load(write_network(state, nvidia_settings(network, clamp)), "?psi=0.8")
    latents = generator.latents(range(2))
    images = generator(latents).numpy()
    assert images.shape == (2, 3, 16, 16)
    expected = numpy_images(state, latents.double().numpy(), psi=0.8, clamp=clamp)
    assert np.mean(np.abs(images) < 1) > 0.5  # or the comparison would be of clamped values
    assert np.std(images) > 0.05
    # float32 against float64: rounding of 6e-8 a term through four layers and 24-tap filters
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_image_k_is_the_same_for_every_batch_size(write_network: Any) -> None:
    network = toy()
    generator = load(write_network(nvidia_state(network), nvidia_settings(network)))
    assert_batches_alike(generator, 5, (1, 2, 3))


def test_a_state_dict_tells_sizes_and_factors_as_the_pickle_does(
    write_network: Any, tmp_path: Path
) -> None:
    network = toy()
    state = nvidia_state(network)
    save_file(state, tmp_path / "toy.safetensors")
    pickled = load(write_network(state, nvidia_settings(network)))
    latents = pickled.latents(range(2))
    assert torch.equal(load(tmp_path / "toy.safetensors")(latents), pickled(latents))
    assert pickled.resolution == 16


def test_head_and_tail_compose_and_pass_gradients(write_network: Any) -> None:
    network = toy()
    generator = load(write_network(nvidia_state(network), nvidia_settings(network)))
    assert generator.layer_names == (
        "mapping",
        "input",
        "L0_12_5",
        "L1_20_4",
        "L2_16_3",
        "L3_16_3",
    )
    latents = generator.latents(range(2))
    images = generator(latents)
    for layer in generator.layer_names:
        head, tail = generator.split(layer)
        assert torch.equal(tail(head(latents)).clamp(-1, 1), images)
    latents.requires_grad_()
    head, tail = generator.split("L1_20_4")
    tail(head(latents)).sum().backward()
    assert latents.grad.abs().sum() > 0


def test_nvidias_layer_sizes_give_its_paddings() -> None:
    # By hand from appendix C.3, at 256 pixels: (in size, out size, up, down) → padding, with
    # 3×3 kernels. L0: 36 → 36 at equal rates: (35·2+1) − 38·2 + 12+12−2 = 17 → 9 and 8.
    # L2: 36 → 52, the rate doubles: (51·2+1) − 38·4 + 24+12−2 = −15 → −6 and −9.
    def padding(in_size: int, out_size: int, up: int) -> tuple[int, int]:
        return LayerDesign(
            inputs=1, outputs=1, in_size=in_size, out_size=out_size, up=up, up_filter=(6 * up,)
        ).padding

    assert padding(36, 36, 2) == (9, 8)
    assert padding(36, 52, 4) == (-6, -9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: {"synthesis.b4.const": torch.zeros(1, 4, 4)}, "stylegan2:FILE"),
        (lambda s: {"x": torch.zeros(1)}, "holds no StyleGAN3"),
        (lambda s: {k: t for k, t in s.items() if "L1_" not in k}, "in order"),
        (lambda s: {k.replace("L1_20", "L1_22"): t for k, t in s.items()}, "margins"),
        (lambda s: s | {"synthesis.L0_12_5.bias": torch.zeros(2)}, "shape"),
        (lambda s: {k: t for k, t in s.items() if not k.endswith("phases")}, "phases"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change: Any, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        network_from_saved(Checkpoint(Path("toy.pkl"), change(nvidia_state(toy()))))


def test_noise_is_refused_where_there_is_none(write_network: Any) -> None:
    with pytest.raises(SpecError, match="unknown option 'noise'"):
        load(write_network(nvidia_state(toy())), "?noise=random")
