import dataclasses
import json

import numpy as np
import pytest
from lab.__main__ import run
from lab.inversion_speed import InversionSpeed, measure_speed, speed_table
from PIL import Image
from safetensors.torch import save_file
from tests.support.inversion_worlds import tiny_generator, tiny_inverter

from unseen.core.errors import SpecError
from unseen.inversion import methods
from unseen.inversion.inverter_file import write_inverter
from unseen.inversion.optimise import Adam


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Three photographs; the paper's schedule cut to thirty steps, the default to ten."""
    generator = tiny_generator()
    state = generator.network.state_dict()
    save_file(
        {name: value.contiguous() for name, value in state.items()},
        tmp_path / "generator.safetensors",
    )
    write_inverter(tiny_inverter(generator), tmp_path / "inverter.safetensors")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    presets = {
        "iccv2019": methods.Inversion(optimiser=Adam(steps=30)),
        "default": methods.Inversion(optimiser=Adam(steps=10, learning_rate=0.03)),
    }
    monkeypatch.setattr("unseen.inversion.methods.PRESETS", presets)
    monkeypatch.setattr("lab.inversion_speed.PRESETS", presets)
    return InversionSpeed(
        generator=f"progan:{tmp_path / 'generator.safetensors'}",
        inverter=str(tmp_path / "inverter.safetensors"),
        images=str(tmp_path / "photos"),
        count=3,
        batch_size=2,
        perceptual="none",
    )


def test_both_ways_invert_the_same_images_by_the_same_loss(task, tmp_path):
    said = []
    result = measure_speed(
        dataclasses.replace(task, picture=tmp_path / "rows.png"), say=said.append
    )
    assert [(way["name"], way["steps"]) for way in result["ways"]] == [
        ("iccv2019", 30),
        ("default", 10),
    ]
    assert [line.partition(",")[0] for line in said] == [
        "iccv2019: 2 of 3 images",
        "default: 2 of 3 images",
        "iccv2019: 3 of 3 images",
        "default: 3 of 3 images",
    ]
    means = [way["loss"] for way in result["ways"]]
    assert np.mean(result["loss_ratios"]) == pytest.approx(means[1] / means[0], rel=0.2)
    assert set(result["ways"][0]["terms"]) == {"pixel", "regularisation"}
    assert result["times_faster_cpu"] > 1  # a third of the steps
    with Image.open(tmp_path / "rows.png") as picture:
        assert picture.size == (3 * 16 * 2, 3 * 16 * 2)
    text = speed_table(result)
    assert "| `iccv2019` | 30 |" in text
    assert "times as fast" in text
    json.dumps(result, allow_nan=False)


def test_the_papers_schedule_is_not_compared_with_itself(task):
    with pytest.raises(SpecError, match="iccv2019"):
        dataclasses.replace(task, preset="iccv2019")


def test_the_command_prints_the_table(task, capsys):
    given = ["inversion-speed", task.generator, "--inverter", task.inverter]
    assert run([*given, "--images", task.images, "--count", "1", "--perceptual", "none"]) == 0
    assert "| `default` | 10 |" in capsys.readouterr().out
