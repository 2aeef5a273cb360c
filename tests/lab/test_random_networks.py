"""Networks with random weights in the benches of speed."""

import dataclasses
import json

import numpy as np
import pytest
from lab.random_networks import RandomThroughput, measure_random, random_upp
from PIL import Image

from lab import random_networks
from unseen.bench import throughput
from unseen.bench.sampling import SamplingSpeed, measure
from unseen.bench.throughput import plain_loop, table
from unseen.distribution.segment import segment
from unseen.images import open_images
from unseen.segmenters.unified_parsing import Sizes
from unseen.segmenters.upp import UnifiedParsingSegmenter


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(3):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"{index}.png")
    return tmp_path


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Published classes, but a network of a few thousand parameters, and small images."""
    monkeypatch.setattr(UnifiedParsingSegmenter, "resolution", 64)
    small = Sizes(
        classes={},
        stem=(4, 4, 4),
        planes=(2, 2, 2, 2),
        blocks=(1, 1, 1, 1),
        pool_width=2,
        pyramid_width=8,
    )
    monkeypatch.setattr(
        random_networks, "Sizes", lambda classes: dataclasses.replace(small, classes=classes)
    )


def test_both_ways_count_the_same_pixels(folder):
    source = open_images(str(folder))
    images = np.stack([source.read(index) for index in range(3)])
    network, vocabulary = random_upp(images, seed=0)
    assert {head: len(names) for head, names in vocabulary.channels.items()} == {
        "object": 336,
        "material": 26,
        "part": 62,
    }
    fast = UnifiedParsingSegmenter(network, vocabulary, {"spec": "upp"})
    device = throughput.torch.device("cpu")
    plain = plain_loop(
        source,
        [0, 1, 2],
        fast,
        lambda images: throughput.plain_labels(network, vocabulary, images, device),
    )
    areas = segment(source, fast, workers=0)
    order = [source.names.index(name) for name in areas.names]
    # ties within rounding: a few of 4,096 pixels
    np.testing.assert_allclose(areas.fraction, plain[order], atol=1e-3)


def test_the_report_says_what_ran_and_how_labels_differ(folder):
    task = RandomThroughput(images=str(folder), count=3, rounds=1)
    result = measure_random(task)
    assert json.loads(json.dumps(result)) == result
    ways = {each["way"]: each for each in result["measured"]}
    assert list(ways) == ["plain", "fp32", "bf16"]
    assert ways["fp32"]["widest_margin"] < 1e-4  # float32 labels differ only at ties
    assert ways["fp32"]["differing"] < 1e-3
    assert ways["bf16"]["ratio"] > 0
    assert table(result).count("\n") == 4


def test_the_random_progan_is_sampled_by_its_spec(monkeypatch):
    monkeypatch.setattr(random_networks, "PROGAN_WIDTHS", (9, 12, 10, 8))
    task = SamplingSpeed(generator="python:lab.random_networks:progan?seed=3", count=2, rounds=1)
    assert measure(task)["resolution"] == 16


def test_the_diffusion_pipeline_is_measured_against_a_call_an_image():
    spec = "python:lab.random_networks:diffusion?steps=1"
    task = SamplingSpeed(generator=spec, count=2, rounds=1, device="cpu", precisions=("fp32",))
    result = measure(task)
    assert result["resolution"] == 64
    assert result["measured"][1]["most"] <= 1  # rounding of a float32's last bits
