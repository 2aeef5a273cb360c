"""The bench of inversion's speed: both ways minimise the same loss of the same images."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.support.inversion_worlds import invert_batch, noise, tiny_generator, tiny_inverter

from unseen.bench.inversion_methods import MethodComparison
from unseen.bench.inversion_speed import measure_speed, plain_loop
from unseen.cli.main import run
from unseen.core.errors import SpecError
from unseen.inversion import methods
from unseen.inversion.inverter_file import write_inverter
from unseen.inversion.optimise import Adam


@pytest.fixture(autouse=True)
def presets(monkeypatch):
    """The plain loop is cut to thirty steps, the default to ten."""
    paper = methods.Inversion(optimiser=Adam(steps=30, halved_at=(10, 20)))
    default = methods.Inversion(optimiser=Adam(steps=10, learning_rate=0.03))
    presets = {"iccv2019": paper, "default": default}
    monkeypatch.setattr("unseen.inversion.methods.PRESETS", presets)
    monkeypatch.setattr("unseen.bench.inversion_speed.PRESETS", presets)
    return presets


@pytest.fixture
def task(tmp_path):
    """Three photographs."""
    generator = tiny_generator()
    state = generator.network.state_dict()
    path = tmp_path / "generator.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    write_inverter(tiny_inverter(generator), tmp_path / "inverter.safetensors")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return MethodComparison(
        generator=f"progan:{path}",
        inverter=str(tmp_path / "inverter.safetensors"),
        photographs=str(tmp_path / "photos"),
        examples=2,
        batch_size=3,
        perceptual="none",
        device="cpu",
        out=tmp_path / "speed",
    )


def test_both_ways_invert_the_same_images_by_the_same_loss(task):
    said = []
    result = measure_speed(task, say=said.append)
    assert [(way["name"], way["steps"]) for way in result["ways"]] == [
        ("plain", 30),
        ("default", 10),
    ]
    assert [line.partition(",")[0] for line in said] == [
        "plain: 3 of 4 images",
        "default: 3 of 4 images",
        "plain: 4 of 4 images",
        "default: 4 of 4 images",
    ]
    means = [way["loss"] for way in result["ways"]]
    assert np.mean(result["loss_ratios"]) == pytest.approx(means[1] / means[0], rel=0.2)
    assert set(result["ways"][0]["terms"]) == {"pixel", "regularisation"}
    assert result["times_faster_cpu"] > 1  # a third of the steps
    with Image.open(task.out / "speed.png") as picture:
        assert picture.size == (4 * 16 * 2, 3 * 16 * 2)
    assert json.loads((task.out / "speed.json").read_text()) == json.loads(json.dumps(result))


def test_the_plain_loop_ends_where_the_same_steps_in_a_batch_end(generator, inverter, presets):
    images = noise(2)
    settings = methods.Inversion(optimiser=presets["iccv2019"].optimiser, perceptual="none")
    prepared = methods.PreparedMethod(generator, inverter, settings)
    plain = [inverted.reconstruction for inverted in plain_loop(prepared, images)]
    ours = invert_batch(images, generator, inverter, settings).reconstructions
    assert torch.allclose(torch.stack(plain), ours, atol=2e-3)  # last bits, through 30 steps


def test_the_papers_schedule_is_not_compared_with_itself(task):
    with pytest.raises(SpecError, match="iccv2019"):
        measure_speed(dataclasses.replace(task, preset="iccv2019"))


def test_the_command_prints_the_table(task, capsys):
    given = ["bench", "inversion", task.generator, "--inverter", task.inverter, "--speed"]
    given += ["--images", task.photographs, "--examples", "1", "--perceptual", "none"]
    assert run([*given, "--device", "cpu", "--out", str(task.out)]) == 0
    assert "| `default` | 10 |" in capsys.readouterr().out
