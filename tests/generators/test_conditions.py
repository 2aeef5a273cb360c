"""What images were asked for: from generator or folder to areas, sample folders and archives."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.worlds import Halves

import unseen
from unseen.core.errors import GeneratorError, ImageError
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sample import Sampling, sample
from unseen.images import open_images

PROMPTS = ["a church", "a café", "a car, red"]


class Prompted:
    """Image k is a grey of its own, and was asked for by prompt k mod 3."""

    provenance = {"spec": "prompted", "weights_sha256": "1"}  # noqa: RUF012

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> torch.Tensor:
        levels = torch.tensor([index / 127.5 - 1 for index in indices])
        return levels[:, None, None, None].expand(-1, 3, 8, 8)

    def conditions(self, indices: Sequence[int]) -> list[str]:
        return [PROMPTS[index % 3] for index in indices]


def expected(indices: Sequence[int]) -> list[str]:
    return [PROMPTS[index % 3] for index in indices]


def test_areas_keep_what_every_image_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "areas.parquet"
    areas = unseen.segment(Prompted(), Halves(), count=40, batch_size=7, out=path)
    assert areas.conditions == expected(range(40))
    assert unseen.read_areas(path).conditions == expected(range(40))
    second = unseen.segment(Prompted(), Halves(), count=40, part=(2, 4), shard=10)
    assert second.conditions == expected(range(10, 20))


def test_a_comparison_shows_beside_its_pictures_what_they_were_asked_for(tmp_path: Path) -> None:
    comparison = unseen.compare(
        Prompted(), Prompted(), Halves(), count=40, out=tmp_path, workers=0, sample_seed=2
    )
    held = [image for images in comparison.real.example_images.values() for image in images]
    assert {image.condition for image in held} == set(PROMPTS)
    for image in held:
        assert image.condition == PROMPTS[int(image.name[:8]) % 3]
    assert "a café" in unseen.report(tmp_path, comparison).read_text(encoding="utf-8")


def test_a_sample_folder_made_in_parts_says_it_and_is_a_source_that_says_it(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    for indices in ([4, 0], [0, 1, 4, 7]):
        sample(Sampling(generator=Prompted(), out=folder, indices=indices))
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file_name": f"{index:08}.png", "prompt": PROMPTS[index % 3]} for index in (0, 1, 4, 7)
    ]
    assert json.loads((folder / "sample.json").read_text())["conditions"] == "metadata.jsonl"
    source = open_images(folder)
    assert list(source.names) == [f"{index:08}.png" for index in (0, 1, 4, 7)]
    assert unseen.segment(folder, Halves(), workers=0).conditions == expected([0, 1, 4, 7])
    with pytest.raises(ImageError, match=r"00000001\.png"):
        (folder / "metadata.jsonl").write_text(lines[0] + "\n" + lines[2] + "\n")
        unseen.segment(folder, Halves(), workers=0)


def test_a_zip_of_samples_says_it_too(tmp_path: Path) -> None:
    out = sample(Sampling(generator=Prompted(), out=tmp_path / "drawn.zip", indices=[5, 3]))
    assert unseen.segment(out, Halves(), workers=0).conditions == expected([3, 5])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"file_name": "a.png", "text": "one", "other": 3}', "one"),
        ('{"file_name": "a.png", "caption": "two", "text": "one"}', "two"),
        ('{"file_name": "a.png", "label": 7}', "7"),
        ('\n{"text": "one", "file_name": "a.png"}\n\n', "one"),
    ],
)
def test_captions_of_other_tools_are_conditions(tmp_path: Path, line: str, text: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(line)
    assert unseen.segment(tmp_path, Halves(), workers=0).conditions == [text]


@pytest.mark.parametrize("line", ['{"file_name": "a.png"}', "[1]", "not JSON", '{"text": "a"}'])
def test_captions_that_are_none_are_refused_by_their_line(tmp_path: Path, line: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    good = '{"file_name": "a.png", "text": "x"}'
    (tmp_path / "metadata.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(ImageError, match="line 2"):
        unseen.segment(tmp_path, Halves(), workers=0)


def test_labels_of_guided_diffusion_are_conditions_and_other_arrays_are_not(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "labelled.npz", images, np.array([207, 1, 207]))
    labelled = unseen.segment(tmp_path / "labelled.npz", Halves(), workers=0)
    assert labelled.conditions == ["class 207", "class 1", "class 207"]
    for number, other in enumerate((np.zeros(2, int), np.zeros(3), np.array(["a", "b", "c"]))):
        np.savez(tmp_path / f"{number}.npz", images, other)
        with pytest.warns(UserWarning, match="arr_1"):
            areas = unseen.segment(tmp_path / f"{number}.npz", Halves(), workers=0)
        assert areas.conditions is None


@pytest.mark.parametrize("given", [["one"], [1, 2], 3])
def test_conditions_that_do_not_fit_the_images_are_refused(given: object) -> None:
    class Wrong(Prompted):
        def conditions(self, indices: Sequence[int]) -> list[str]:
            return given  # type: ignore[return-value]

    with pytest.raises(GeneratorError):
        DrawnImages(Wrong()).conditions([0, 1])
