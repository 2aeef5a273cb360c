"""The churchyard's generators as they are shipped."""

import re
from pathlib import Path

import numpy as np
import pytest

from unseen.churchyard.classes import INDEX
from unseen.churchyard.generator import PLANTED, WEIGHTS, load_churchyard_generator
from unseen.churchyard.segmenter import WEIGHTS as SEGMENTER
from unseen.core.errors import SpecError
from unseen.core.files import sha256_of_file
from unseen.core.registry import parse_spec
from unseen.distribution.segment import segment


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_card_names_the_file_by_its_digest(name: str) -> None:
    card = WEIGHTS[name].with_suffix(".md").read_text(encoding="utf-8")
    assert sha256_of_file(WEIGHTS[name]) in card
    without = re.search(r"--without (\S+)", card)
    assert (without is None) == (name == "churchyard-full")
    assert without is None or set(without[1].split(",")) == set(PLANTED)


def test_all_shipped_weights_fit_in_twenty_megabytes() -> None:
    folder: Path = SEGMENTER.parent
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 20e6


@pytest.mark.parametrize("name", WEIGHTS)
def test_it_draws_with_the_layers_of_the_paper(name: str) -> None:
    generator = load_churchyard_generator(parse_spec(name))
    assert generator.layer_names[:4] == ("layer1", "layer2", "layer3", "layer4")
    assert generator.layer_names[-1] == "output_64x64"
    images = generator(generator.latents(range(8))).numpy()
    assert images.shape == (8, 3, 64, 64)
    assert images.std(axis=0).mean() > 0.1  # they differ: no collapse to one image


def test_only_the_planted_one_lacks_what_it_was_not_shown() -> None:
    # 200 images: the full generator draws each planted class in more than 10 % of them.
    present = {}
    for name in WEIGHTS:
        areas = segment(name, "churchyard", count=200, workers=0)
        fraction = areas.fraction[:, [INDEX[each] for each in PLANTED]]
        present[name] = (fraction >= 0.005).mean(axis=0)
    assert np.all(present["churchyard-full"] > 0.1)
    assert np.all(present["churchyard-planted"] < present["churchyard-full"] / 3)


def test_an_argument_is_refused() -> None:
    with pytest.raises(SpecError, match="mine"):
        load_churchyard_generator(parse_spec("churchyard-full:mine.pth"))
