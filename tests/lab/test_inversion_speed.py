import json

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from tests.support.inversion_worlds import tiny_generator, tiny_inverter

from lab.inversion_speed import Speed, measure_speed, speed_table
from unseen.cli.main import run
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
    return Speed(
        generator=f"progan:{tmp_path / 'generator.safetensors'}",
        inverter=str(tmp_path / "inverter.safetensors"),
        images=str(tmp_path / "photos"),
        count=3,
        batch_size=2,
        perceptual="none",
    )


def test_both_ways_invert_the_same_images_by_the_same_loss(task, tmp_path):
    said = []
    result = measure_speed(task, picture=tmp_path / "rows.png", say=said.append)
    assert [(way["name"], way["steps"]) for way in result["ways"]] == [
        ("iccv2019", 30),
        ("default", 10),
    ]
    assert len(said) == 3 + 2  # the paper's one image at a time, the default's two and one
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


def test_the_command_measures_what_it_is_asked_for(task, capsys):
    given = ["bench", "inversion", task.generator, "--inverter", task.inverter]
    more = ["--images", task.images, "--count", "1", "--perceptual", "none"]
    assert run([*given, *more, "--speed"]) == 0
    assert "| `default` | 10 |" in capsys.readouterr().out
    assert run([*given, *more, "--speed", "--cut", "layer2"]) == 2
    assert "--cut says nothing of --speed" in capsys.readouterr().err
    assert run([*given, *more]) == 2
    assert "--speed" in capsys.readouterr().err
