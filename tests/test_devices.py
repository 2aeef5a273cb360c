"""Every family of generator and segmenter, a training and an inversion, on a GPU as on the CPU.

The same tests run on the CPU alone in every run, where they show that the tests themselves work;
`pytest -m gpu` runs them on CUDA.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.generators import test_ablations as ablations
from tests.generators import test_progan as progan
from tests.generators import test_stylegan as stylegan
from tests.generators import test_stylegan2 as stylegan2
from tests.generators import test_stylegan3 as stylegan3
from tests.segmenters import test_hf as hf
from tests.segmenters import test_onnx as onnx
from tests.segmenters import test_upp as upp

from unseen.generators import load_generator
from unseen.inversion.invert import InversionRun, invert
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.inverter_training import InverterTraining, train_inverter
from unseen.inversion.methods import Inversion
from unseen.inversion.optimise import Adam
from unseen.inversion.recipes import Budget, Recipe
from unseen.segmenters import checked_label_maps, load_segmenter

GENERATOR = """
import torch, unseen
def make(device, precision):
    weights = torch.linspace(-1, 1, 4 * 3 * 8 * 8, device=device).view(4, 192)
    return unseen.FunctionGenerator(
        lambda latents: torch.tanh(latents @ weights).view(-1, 3, 8, 8),
        latent_size=4, resolution=8, device=device)
"""
SEGMENTER = """
import torch
class Brightness:
    channels, resolution, provenance = {"object": ("dark", "bright")}, 64, {}
    def __init__(self, device, precision):
        self.device = device
    def label_maps(self, images, channel="object"):
        labels = torch.from_numpy(images).to(self.device).sum(1) > 382
        return labels.int().cpu().numpy()
"""


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: Any) -> Any:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    # TF32 would keep 10 bits of a convolution's factors, and hide a fault that is as small.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield request.param


@pytest.fixture
def files(tmp_path: Path, write_network: Any, write_tensorflow: Any, monkeypatch: Any) -> Any:
    """Writers of small networks; each gives the spec of what it wrote."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def of_progan() -> str:
        save_file(progan.random_network().state_dict(), tmp_path / "progan.safetensors")
        return f"progan:{tmp_path / 'progan.safetensors'}"

    def of_module(name: str, source: str, factory: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        sys.modules.pop(name, None)
        return f"python:{name}:{factory}"

    def of_stylegan(family: Any, name: str) -> str:
        network = family.toy()
        path = write_network(family.nvidia_state(network), family.nvidia_settings(network))
        return f"{name}:{path}"

    def of_onnx() -> str:
        folder = onnx.write_folder(tmp_path / "onnx", layout="NCHW", colour="RGB", kind="logits")
        return f"onnx:{folder}"

    def of_upp() -> str:
        monkeypatch.setattr(upp.upp_module, "Sizes", lambda classes: upp.NARROW)
        return f"upp:{upp.write_folder(tmp_path / 'upp')}"

    return SimpleNamespace(
        generators={
            "progan": of_progan,
            "wgan-gp": lambda: f"wgan-gp:{ablations.write(tmp_path, 'batch-norm')}",
            "ablation": lambda: f"ablation:{ablations.write(tmp_path, 'scale')}",
            "stylegan": lambda: f"stylegan:{write_tensorflow(stylegan.variables(3), {})}",
            "stylegan2": lambda: of_stylegan(stylegan2, "stylegan2"),
            "stylegan3": lambda: of_stylegan(stylegan3, "stylegan3"),
            "churchyard-full": lambda: "churchyard-full",
            "python": lambda: of_module("generator_on_a_device", GENERATOR, "make"),
        },
        segmenters={
            "upp": of_upp,
            **{
                f"hf {family}": (lambda family=family: f"hf:{hf.save(family, tmp_path)}")
                for family in hf.FAMILIES
            },
            "onnx": of_onnx,
            "churchyard": lambda: "churchyard",
            "python": lambda: of_module("segmenter_on_a_device", SEGMENTER, "Brightness"),
        },
    )


GENERATORS = ("progan", "wgan-gp", "ablation", "stylegan", "stylegan2", "stylegan3")
SEGMENTERS = ("upp", *(f"hf {family}" for family in hf.FAMILIES), "onnx", "churchyard")


@pytest.mark.parametrize("family", [*GENERATORS, "churchyard-full", "python"])
def test_images_are_those_of_the_cpu(files: Any, device: str, family: str) -> None:
    spec = files.generators[family]()
    generator = load_generator(spec, device=device)
    latents = generator.latents([3, 0, 5])
    assert latents.device.type == device
    images = generator(latents)
    assert images.device.type == device
    plain = load_generator(spec, device="cpu")
    expected = plain(plain.latents([3, 0, 5]))
    # sums of float32 in another order, enlarged by each normalisation
    torch.testing.assert_close(images.cpu(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["progan", "churchyard-full", "python"])
def test_bf16_draws_close_to_fp32(files: Any, device: str, family: str) -> None:
    spec = files.generators[family]()
    full, half = (load_generator(spec, device=device, precision=name) for name in ("fp32", "bf16"))
    latents = full.latents(range(4))
    images = half(latents)
    assert images.dtype == torch.float32
    # bf16 keeps 8 bits; its errors of 0.4 % a layer mostly cancel over an image
    assert (images - full(latents)).abs().mean() < 0.1
    assert half.provenance["precision"] == "bf16"


def images_for(segmenter: Any) -> np.ndarray:
    """Three smooth pictures, where few pixels lie at the border of two classes."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8)
    return coarse.repeat(segmenter.resolution // 4, 2).repeat(segmenter.resolution // 4, 3)


@pytest.mark.parametrize("family", [*SEGMENTERS, "python"])
def test_label_maps_are_those_of_the_cpu(files: Any, device: str, family: str) -> None:
    spec = files.segmenters[family]()
    if device == "cuda" and family == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in runtime.get_available_providers():
            pytest.skip("this onnxruntime computes on the CPU alone; install onnxruntime-gpu")
    segmenter = load_segmenter(spec, device=device)
    images = images_for(segmenter)
    expected = checked_label_maps(load_segmenter(spec, device="cpu"), images)
    label_maps = checked_label_maps(segmenter, images)
    # float32 sums in another order change labels where two classes are as good as equal
    assert (label_maps != expected).mean() < 0.01


@pytest.mark.parametrize("family", ["upp", "hf Segformer", "churchyard"])
def test_bf16_labels_mostly_as_fp32_does(files: Any, device: str, family: str) -> None:
    spec = files.segmenters[family]()
    full, half = (load_segmenter(spec, device=device, precision=name) for name in ("fp32", "bf16"))
    images = images_for(full)
    # networks of random weights have classes that are nearly equal in many pixels
    assert (checked_label_maps(half, images) == checked_label_maps(full, images)).mean() > 0.8
    assert half.provenance["precision"] == "bf16"


TRAINING = Recipe(
    joint=Budget(steps=1, learning_rate=1e-3),
    batch_size=4,
    architecture=Architecture(width=4, blocks=1, last_blocks=1),
)


def trained(spec: str, device: str, precision: str = "fp32") -> Any:
    generator = load_generator(spec, device=device)
    return train_inverter(
        generator,
        task=InverterTraining(recipe=TRAINING, cut="layer2", held_out=8, precision=precision),
    )


def test_one_step_of_training_is_that_of_the_cpu(files: Any, device: str) -> None:
    spec = files.generators["progan"]()
    found, expected = (trained(spec, name).state_dict() for name in (device, "cpu"))
    for name, tensor in expected.items():
        # Adam's first step has the size of the learning rate, whatever the gradient: a weight
        # whose gradient is nothing but rounding may go the other way, 2e-3 from here
        torch.testing.assert_close(found[name].cpu(), tensor, atol=2.1e-3, rtol=1e-3)
        near = torch.isclose(found[name].cpu().float(), tensor.float(), atol=1e-4, rtol=1e-3)
        assert near.float().mean() > 0.95


def test_a_training_in_bf16_ends_in_finite_weights_of_float32(files: Any, device: str) -> None:
    state = trained(files.generators["progan"](), device, "bf16").state_dict()
    floats = [tensor for tensor in state.values() if tensor.is_floating_point()]
    assert all(tensor.dtype == torch.float32 for tensor in floats)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in floats)


def test_an_inversion_ends_at_the_losses_of_the_cpu(
    files: Any, device: str, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    spec = files.generators["progan"]()
    inverter = trained(spec, "cpu")
    optimiser = Adam(steps=6, learning_rate=0.02, momentum=0.9, falling=True)
    run = InversionRun(
        methods=("d", "f"), settings=Inversion(perceptual="none", optimiser=optimiser)
    )

    def losses(where: str) -> list[float]:
        generator = load_generator(spec, device=where)
        out = tmp_path / f"{where} {len([*tmp_path.iterdir()])}"
        record = invert(tmp_path / "photos", generator, inverter.to(where), out=out, task=run)
        return [image.reconstructions[way].loss for image in record.images for way in ("d", "f")]

    # six steps of Adam on float32 gradients that differ by rounding
    assert losses(device) == pytest.approx(losses("cpu"), rel=0.01)
