"""Pipelines of diffusers, tiny and with random weights: one of each kind, offline."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import peft
import pytest
import torch
from diffusers import (
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    LDMPipeline,
    StableDiffusionPipeline,
)
from safetensors.torch import save_file
from tests.support.pipelines import (
    autoencoder,
    flux,
    pixart,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    transformer,
    unet,
)
from tests.support.worlds import Halves

import unseen
from unseen.core.errors import CheckpointError, GeneratorError, SpecError
from unseen.core.files import sha256_of_file
from unseen.generators import diffusers_pipeline, load_generator
from unseen.generators.diffusers_pipeline import PipelineGenerator
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sample import Sampling, sample
from unseen.images import open_images

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "ddpm": (lambda _: DDPMPipeline(unet(8), DDPMScheduler()), "steps=3"),
    "ddim": (lambda _: DDIMPipeline(unet(8), DDIMScheduler()), "steps=3"),
    "consistency": (
        lambda _: ConsistencyModelPipeline(unet(8), diffusers.CMStochasticIterativeScheduler()),
        "steps=1",
    ),
    "ldm": (
        lambda _: LDMPipeline(
            vqvae=autoencoder(), unet=unet(8, 4), scheduler=DDIMScheduler(clip_sample=False)
        ),
        "steps=3",
    ),
    "dit": (
        lambda _: DiTPipeline(transformer(), autoencoder(), DDIMScheduler(clip_sample=False)),
        "steps=2&classes=cycle&guidance=2",
    ),
    "stable-diffusion": (stable_diffusion, "steps=2&guidance=2&negative=fog"),
    "stable-diffusion-xl": (stable_diffusion_xl, "steps=2&guidance=2&negative=fog"),
    "stable-diffusion-3": (stable_diffusion_3, "steps=2&guidance=2&negative=fog&size=16"),
    "flux": (flux, "steps=2&guidance=2&size=16"),
    "pixart": (pixart, "steps=2&guidance=2&negative=fog&size=16"),
    "sana": (sana, "steps=2&guidance=2&negative=fog&size=32"),
}
TEXT = ("stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3", "flux", "pixart", "sana")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    places = {}
    for name, (make, _) in KINDS.items():
        places[name] = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        make(places[name]).save_pretrained(places[name] / "model")
        (places[name] / "prompts.txt").write_text("a church\n\na car\na person\n")
    return places


def spec_of(places: dict[str, Path], name: str) -> str:
    prompts = f"&prompts={places[name] / 'prompts.txt'}" if name in TEXT else ""
    return f"diffusers:{places[name] / 'model'}?{KINDS[name][1]}{prompts}"


def loaded(spec: str) -> PipelineGenerator:
    generator = load_generator(spec, device="cpu")
    assert isinstance(generator, PipelineGenerator)
    return generator


@pytest.mark.parametrize("name", KINDS)
def test_image_k_is_the_same_alone_and_in_any_company(places: dict[str, Path], name: str) -> None:
    drawn = DrawnImages(loaded(spec_of(places, name)), seed=3, batch_size=3)
    together = list(drawn.images([0, 1, 2, 3, 4]))
    assert all(image.shape == together[0].shape for image in together)
    for index, again in zip((4, 0), drawn.images([4, 0]), strict=True):
        assert np.array_equal(again, together[index])
    assert np.array_equal(drawn.read(2), together[2])
    assert not np.array_equal(together[0], together[1])
    other = DrawnImages(loaded(spec_of(places, name)), seed=4, batch_size=3)
    assert not np.array_equal(other.read(0), together[0])


@pytest.mark.parametrize("name", TEXT)
def test_images_are_those_of_the_pipeline_called_by_hand(
    places: dict[str, Path], name: str
) -> None:
    spec = spec_of(places, name)
    images = DrawnImages(loaded(spec), seed=3, batch_size=2)
    third = dict.fromkeys(("text_encoder_3", "tokenizer_3")) if "3" in name else {}  # left out
    pipeline = diffusers.DiffusionPipeline.from_pretrained(places[name] / "model", **third)
    pipeline.set_progress_bar_config(disable=True)
    streams = [
        torch.Generator().manual_seed(
            int(np.random.SeedSequence([3, k]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        )
        for k in (3, 4)
    ]
    more: dict[str, Any] = {} if name == "flux" else {"negative_prompt": ["fog", "fog"]}
    if "size" in spec:
        side = 32 if name == "sana" else 16
        more |= {"height": side, "width": side}
    if name in ("pixart", "sana"):
        more |= {"use_resolution_binning": False, "clean_caption": False}
    by_hand = pipeline(
        ["a church", "a car"],  # prompts 3 mod 3 and 4 mod 3
        generator=streams,
        num_inference_steps=2,
        guidance_scale=2.0,
        **more,
    ).images
    for drawn, picture in zip(images.images([3, 4]), by_hand, strict=True):
        difference = drawn.transpose(1, 2, 0).astype(int) - np.asarray(picture)
        assert np.abs(difference).max() <= 1  # halves are rounded to even in one way only
    assert images.conditions([0, 4, 5]) == ["a church", "a car", "a person"]


@pytest.mark.parametrize("name", TEXT)
def test_every_prompt_draws_another_image(places: dict[str, Path], name: str) -> None:
    generator = loaded(spec_of(places, name))
    first = generator.draw([0, 1])[0]
    generator.prompts = ("a car", "a car")
    assert not torch.allclose(generator.draw([0, 1])[0], first, atol=1e-4)


def lora_of(place: Path, out: Path) -> Path:
    """A LoRA of the network's attention, with random weights."""
    pipeline = StableDiffusionPipeline.from_pretrained(place / "model")
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    pipeline.unet.add_adapter(config)
    layers = peft.get_peft_model_state_dict(pipeline.unet)
    StableDiffusionPipeline.save_lora_weights(out, unet_lora_layers=layers)
    return out / "pytorch_lora_weights.safetensors"


def test_a_lora_changes_the_images_as_it_does_by_hand(
    places: dict[str, Path], tmp_path: Path
) -> None:
    spec = spec_of(places, "stable-diffusion")
    path = lora_of(places["stable-diffusion"], tmp_path)
    plain, changed = loaded(spec), loaded(f"{spec}&lora={path}")
    by_hand = loaded(spec)
    by_hand.pipeline.load_lora_weights(tmp_path)
    drawn = changed.draw([0, 1, 2])
    assert torch.equal(drawn, by_hand.draw([0, 1, 2]))
    assert not torch.allclose(drawn, plain.draw([0, 1, 2]), atol=1e-4)
    torch.testing.assert_close(changed.draw([1, 2]), drawn[1:], atol=1e-6, rtol=0)
    assert changed.provenance["options"]["lora_sha256"] == sha256_of_file(path)
    assert changed.provenance["weights_sha256"] != plain.provenance["weights_sha256"]


def test_what_is_no_lora_of_the_pipeline_is_refused(
    places: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="other"):
        load_generator(f"{spec_of(places, 'stable-diffusion')}&lora={path}")
    with pytest.raises(SpecError, match="DDIMPipeline"):
        load_generator(f"{spec_of(places, 'ddim')}&lora={path}")


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_what_is_offloaded_draws_the_same_images(
    places: dict[str, Path], offload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(places, "stable-diffusion")
    drawn = loaded(spec).draw([0, 1, 2])
    asked: list[str] = []
    name = f"enable_{offload}_cpu_offload"
    own = getattr(diffusers.DiffusionPipeline, name)

    def on_the_cpu(pipeline: Any, device: str) -> None:
        asked.append(device)
        if offload == "model":  # whose hooks move weights to any device; the other's need a GPU
            own(pipeline, device="cpu")

    monkeypatch.setattr(diffusers.DiffusionPipeline, name, on_the_cpu)
    monkeypatch.setattr(diffusers_pipeline, "resolve_device", lambda _: "cuda")
    offloaded = loaded(f"{spec}&offload={offload}")
    assert asked == ["cuda"]
    assert torch.equal(offloaded.draw([0, 1, 2]), drawn)
    if offload == "model":
        with pytest.raises(SpecError, match="offload"):
            offloaded.layered()


_KILLED = """
import os, signal, sys
from unseen.cli.main import run
from unseen.generators.sample_folder import SampleFolder
whole = SampleFolder.write
def write(*arguments):
    whole(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
SampleFolder.write = write
run(sys.argv[1:])
"""


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(
    places: dict[str, Path], tmp_path: Path
) -> None:
    spec = spec_of(places, "stable-diffusion")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    options = ["--indices", "0-4", "--batch-size", "2", "--device", "cpu"]
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, "sample", spec, str(killed), *options],
        check=False,
        capture_output=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(list(killed.glob("*.png"))) == 2
    for folder in (killed, whole):
        sample(Sampling(generator=loaded(spec), out=folder, indices=range(5), batch_size=2))
    for index in range(5):
        name = f"{index:08}.png"
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert open_images(killed).conditions(range(5)) == open_images(whole).conditions(range(5))


@pytest.mark.parametrize("name", KINDS)
def test_progress_is_told_while_a_call_is_at_work(
    places: dict[str, Path], name: str, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    task = Sampling(
        generator=loaded(spec_of(places, name)),
        out=tmp_path / "out",
        indices=range(8),
        batch_size=4,
    )
    sample(task, progress=lambda done, total: told.append((done, total)))
    done = [images for images, _ in told]
    assert {total for _, total in told} == {8}
    assert done == sorted(done)
    assert done[-1] == 8
    steps = 1 if name == "consistency" else 2
    assert len(told) >= 2 * (steps + 1)  # every step of both calls, and their ends
    assert steps == 1 or 0 < done[0] < 4


def test_progress_is_told_while_drawn_images_are_segmented(places: dict[str, Path]) -> None:
    told: list[int] = []
    unseen.segment(
        unseen.DrawnImages(loaded(spec_of(places, "ddim")), batch_size=4),
        Halves(),
        count=4,
        batch_size=2,
        progress=lambda done, _: told.append(done),
    )
    assert told[:4] == [0, 1, 2, 4]  # three steps of four images
    assert told == sorted(told)


def test_classes_are_drawn_in_turn_and_are_conditions(places: dict[str, Path]) -> None:
    spec = spec_of(places, "dit")
    assert loaded(spec).conditions([0, 7, 1001]) == ["class 0", "class 7", "class 1"]
    one = loaded(spec.replace("classes=cycle", "classes=7"))
    assert one.conditions([0]) is None
    torch.testing.assert_close(one.draw([7]), loaded(spec).draw([7]))


def test_the_record_says_what_decides_the_images(places: dict[str, Path]) -> None:
    spec = spec_of(places, "stable-diffusion")
    record = loaded(spec).provenance
    assert record["pipeline"] == "StableDiffusionPipeline"
    assert "unet/diffusion_pytorch_model.safetensors" in record["weights"]
    assert record["scheduler"]["class"] == "DDIMScheduler"
    assert record["options"]["num_inference_steps"] == 2
    other = loaded(f"{spec}&scheduler=EulerDiscreteScheduler").provenance
    assert other["scheduler"]["class"] == "EulerDiscreteScheduler"
    (places["stable-diffusion"] / "other.txt").write_text("a car\n")
    changed = loaded(spec.replace("prompts.txt", "other.txt")).provenance
    assert changed["prompts_sha256"] != record["prompts_sha256"]
    assert DrawnImages(loaded(spec), batch_size=3).header["batch_size"] == 3


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("csv", 'name,prompt\na,a church\nb,"a car, red"\n'),
        ("jsonl", '{"prompt": "a church"}\n{"prompt": "a car, red"}\n'),
        ("jsonl", '{"file_name": "a.png", "caption": "a church"}\n{"text": "a car, red"}\n'),
        ("txt", "a church\na car, red"),
    ],
)
def test_prompts_come_from_lines_or_columns(
    places: dict[str, Path], suffix: str, content: str
) -> None:
    path = places["stable-diffusion"] / f"some.{suffix}"
    path.write_text(content)
    spec = spec_of(places, "stable-diffusion").replace("prompts.txt", path.name)
    assert loaded(spec).prompts == ("a church", "a car, red")


@pytest.mark.parametrize(
    ("name", "dtype", "rounding"),  # of 8 and of 11 bits
    [
        *((name, "bf16", 2**-8) for name in ("ddpm", "ddim", "consistency", "dit")),
        ("stable-diffusion-xl", "fp16", 2**-11),
    ],
)
def test_half_precision_draws_nearly_the_same_images(
    places: dict[str, Path], name: str, dtype: str, rounding: float
) -> None:
    spec = spec_of(places, name)
    halved = loaded(f"{spec}&dtype={dtype}")
    difference = halved.draw([0, 1]) - loaded(spec).draw([0, 1])
    assert 0 < difference.abs().mean() < 4 * rounding  # images reach from -1 to 1
    assert halved.provenance["precision"] == dtype


@pytest.mark.parametrize(
    ("name", "change", "value"),
    [
        ("ddpm", "&guidance=3", "guidance_scale"),
        ("ddpm", "&prompts=x.txt", "prompts"),
        ("ddpm", "&classes=3", "classes"),
        ("ddim", "&size=64", "width"),
        ("ddim", "&scheduler=UNet2DModel", "UNet2DModel"),
        ("ddim", "&dtype=int8", "int8"),
        ("ldm", "&dtype=fp16", "LDMPipeline"),
        ("ddim", "&offload=model", "offload"),
        ("ddim", "&lora=nothing.bin", "nothing.bin"),
        ("stable-diffusion", "&size=0", "size"),
        ("stable-diffusion", "&guidance=much", "much"),
        ("stable-diffusion", "&column=text", "text"),
        ("dit", "&classes=1000", "classes"),
        ("flux", "&negative=fog", "negative"),
    ],
)
def test_options_that_a_pipeline_does_not_take_are_refused(
    places: dict[str, Path], name: str, change: str, value: str
) -> None:
    spec = spec_of(places, name)
    key = change[1:].partition("=")[0]
    kept = [part for part in spec.partition("?")[2].split("&") if not part.startswith(f"{key}=")]
    if "column" in change:
        (places[name] / "prompts.csv").write_text("prompt\na\n")
        kept = [part.replace("prompts.txt", "prompts.csv") for part in kept]
    with pytest.raises(SpecError, match=value):
        load_generator(f"{spec.partition('?')[0]}?{'&'.join(kept)}{change}")


@pytest.mark.parametrize("name", [*TEXT, "dit"])
def test_prompts_and_classes_are_asked_for(places: dict[str, Path], name: str) -> None:
    with pytest.raises(SpecError, match="add"):
        load_generator(f"diffusers:{places[name] / 'model'}")


def test_code_pickles_and_what_is_no_pipeline_are_refused(
    places: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="cache"):
        load_generator("diffusers:nobody/no-such-model")
    with pytest.raises(CheckpointError, match="model_index"):
        load_generator(f"diffusers:{tmp_path}")
    folder = tmp_path / "pickled"
    pipeline = DDIMPipeline(unet(8), DDIMScheduler())
    pipeline.save_pretrained(folder, safe_serialization=False)
    with pytest.raises(CheckpointError, match="safetensors"):
        load_generator(f"diffusers:{folder}")
    coded = tmp_path / "coded"
    pipeline.save_pretrained(coded)
    (coded / "pipeline.py").write_text("raise SystemExit\n")
    with pytest.raises(CheckpointError, match=r"pipeline\.py"):
        load_generator(f"diffusers:{coded}")


def test_black_images_are_named_and_refused_above_one_in_a_hundred() -> None:
    class Result:
        def __init__(self, images: np.ndarray) -> None:
            self.images = images

    class Dark:
        """Draws black where the stream of the image says so."""

        def __init__(self, black: set[int]) -> None:
            self.black, self.count = black, 0

        def __call__(
            self, batch_size: int, generator: list[torch.Generator], output_type: str
        ) -> Result:
            images = np.full((batch_size, 4, 4, 3), 0.5)
            for row in range(batch_size):
                if self.count + row in self.black:
                    images[row] = 0
            self.count += batch_size
            return Result(images)

    few = PipelineGenerator(Dark({150}), "few", {}, {})
    few.draw(range(100))
    with pytest.warns(UserWarning, match="image 150"):
        few.draw(range(100, 200))
    many = PipelineGenerator(Dark({3, 5, 8}), "many", {}, {})
    with pytest.raises(GeneratorError, match="3 black images of 100, first image 3"):
        many.draw(range(100))
