"""The churchyard's segmenter: what is shipped, how it is trained, what it refuses."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab.churchyard_segmenter import (
    SegmenterStage,
    SegmenterTraining,
    augment,
    blur,
    intersection_over_union,
    measure,
    perturb,
    recolour_matrices,
    smear,
    stain,
    train_segmenter,
    weave,
)

from lab import churchyard_segmenter as segmenter_training
from unseen.churchyard.classes import CLASS_NAMES, INDEX
from unseen.churchyard.rendering import presence_by_class, presence_table, render_scenes
from unseen.churchyard.scene import World
from unseen.churchyard.segmenter import (
    WEIGHTS,
    SegmenterNetwork,
    labels_by_majority,
    load_churchyard,
    load_network,
    save_network,
)
from unseen.churchyard.source import open_churchyard
from unseen.core.errors import CheckpointError, SegmenterError
from unseen.core.files import sha256_of_file
from unseen.core.registry import parse_spec


def test_the_shipped_weights_reach_what_their_card_says() -> None:
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    stated = float(re.search(r"\| \*\*mean\*\* \| \*\*([0-9.]+)\*\*", card).group(1))  # type: ignore[union-attr]
    segmenter = load_churchyard(parse_spec("churchyard"), device="cpu", precision="fp32")
    # Rare classes are raised, so that 60 scenes hold all of them; that cannot make them harder.
    world = World(seed=77, least_frequency=0.3)
    scores = intersection_over_union(measure(segmenter, world, 60))
    # 60 scenes hold a few hundred pixels of a small class: its IoU wanders by about 0.1, the mean
    # of 22 classes by about 0.02.
    assert np.nanmean(scores) > stated - 0.06


def test_the_card_names_the_file_by_its_digest() -> None:
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    assert sha256_of_file(WEIGHTS) in card


def test_bf16_labels_fewer_than_half_a_percent_of_pixels_otherwise() -> None:
    spec = parse_spec("churchyard")
    pictures = np.stack([World(seed=78).scene(k).picture for k in range(16)])
    maps = [
        load_churchyard(spec, device="cpu", precision=precision).label_maps(pictures)
        for precision in ("fp32", "bf16")
    ]
    assert (maps[0] != maps[1]).mean() < 0.005


def test_a_training_of_two_steps_writes_weights_that_load_and_a_card(tmp_path: Path) -> None:
    task = SegmenterTraining(
        folder=tmp_path / "run",
        out=tmp_path / "segmenter.safetensors",
        stage=SegmenterStage(steps=2, batch_size=2, scenes=4, weight_scenes=1, validation_scenes=1),
        test_scenes=2,
    )
    path = train_segmenter(task)
    spec = parse_spec(f"churchyard:{path}")
    segmenter = load_churchyard(spec, device="cpu", precision="fp32")
    assert segmenter.channels == {"object": CLASS_NAMES}
    assert segmenter.provenance["weights_sha256"] == sha256_of_file(path)
    labels = segmenter.label_maps(np.zeros((3, 3, 64, 64), np.uint8))
    assert labels.shape == (3, 64, 64)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "--steps 2 --batch-size 2 --scenes 4" in card
    assert sum(line.startswith("| ") for line in card.splitlines()) == len(CLASS_NAMES) + 3


def test_a_training_may_begin_with_the_weights_of_another() -> None:
    stage = SegmenterStage(steps=1, scenes=1, weight_scenes=1, start=WEIGHTS)
    learner = stage.begin(torch.device("cpu"), {})
    shipped = load_network(WEIGHTS).state_dict()
    assert all(torch.equal(shipped[k], v) for k, v in learner.network.state_dict().items())
    fresh = SegmenterStage(steps=1, scenes=1, weight_scenes=1)
    assert stage.identity()["start"] == sha256_of_file(WEIGHTS)
    assert fresh.identity()["start"] is None


def test_what_training_prefers_is_taken_out_of_the_logits_again() -> None:
    stage = SegmenterStage(weight_scenes=1)
    world = World(seed=segmenter_training.TRAINING_SEED, least_frequency=stage.least_frequency)
    weights = segmenter_training.class_weights(world, 1, stage.largest_weight)
    factors = (segmenter_training.prior_correction(stage).exp() * weights).tolist()
    assert factors[INDEX["car"]] == pytest.approx(1)  # as frequent in training as in the world
    # 0.62 % of scenes hold a horse, and 12 % of those trained on
    assert factors[INDEX["horse"]] == pytest.approx(0.0062 / 0.12, rel=1e-5)


def test_a_label_map_depends_on_its_image_alone() -> None:
    torch.manual_seed(0)
    network = SegmenterNetwork()
    segmenter = segmenter_training.ChurchyardSegmenter(
        network, device=torch.device("cpu"), precision="fp32", provenance={}
    )
    pictures = np.stack([World(seed=79).scene(k).picture for k in range(3)])
    alone = np.concatenate([segmenter.label_maps(pictures[k : k + 1]) for k in range(3)])
    # Another batch size may sum in another order: near ties of an untrained network may flip.
    assert (segmenter.label_maps(pictures) != alone).mean() < 1e-3


def test_a_mirror_image_is_labelled_as_the_image_is() -> None:
    segmenter = load_churchyard(parse_spec("churchyard"), device="cpu", precision="fp32")
    world = World(seed=3)
    images = np.stack([world.scene(index).picture for index in range(4)])
    labels, mirrored = segmenter.label_maps(images), segmenter.label_maps(images[..., ::-1])
    assert (labels == mirrored[..., ::-1]).mean() > 0.9999  # but for sums in another order


def test_a_thing_is_named_by_majority_alone_and_scenery_by_plurality() -> None:
    belief = torch.zeros(1, len(CLASS_NAMES), 1, 4)
    for column, share in enumerate(
        (
            {"car": 0.6, "road": 0.4},
            {"car": 0.45, "gravestone": 0.25, "road": 0.2, "grass": 0.1},
            {"car": 0.5, "road": 0.5},  # no majority
            {"road": 0.4, "grass": 0.3, "car": 0.3},
        )
    ):
        for name, value in share.items():
            belief[0, INDEX[name], 0, column] = value
    labels = labels_by_majority(4 * belief)[0, 0]
    assert [CLASS_NAMES[label] for label in labels] == ["car", "road", "road", "road"]


def test_sides_and_channels_that_do_not_fit_are_refused() -> None:
    segmenter = segmenter_training.ChurchyardSegmenter(
        SegmenterNetwork(), device=torch.device("cpu"), precision="fp32", provenance={}
    )
    with pytest.raises(SegmenterError, match="multiples of 8"):
        segmenter.label_maps(np.zeros((1, 3, 60, 64), np.uint8))
    with pytest.raises(SegmenterError, match="no channel 'part'"):
        segmenter.label_maps(np.zeros((1, 3, 64, 64), np.uint8), "part")


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="other"):
        load_network(path)
    save_network(torch.nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match="other"):
        load_network(path)


def test_iou_is_hits_over_union_and_undefined_for_a_class_that_is_nowhere() -> None:
    confusion = np.array([[6.0, 2.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    scores = intersection_over_union(confusion)
    assert scores[:2].tolist() == pytest.approx([6 / 9, 3 / 6])
    assert np.isnan(scores[2])


def test_recolouring_keeps_grey_grey() -> None:
    turned = recolour_matrices(5, 1.0, torch.Generator().manual_seed(0))
    grey = turned @ torch.full((3,), 90.0)
    torch.testing.assert_close(grey, torch.full((5, 3), 90.0))


def test_blurring_keeps_a_flat_image_and_spreads_a_point_by_its_gaussian() -> None:
    flat = torch.full((1, 3, 8, 8), 50.0)
    torch.testing.assert_close(blur(flat, torch.tensor([1.0])), flat)
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    spread = blur(point, torch.tensor([0.8]))[0, 0]
    # neighbour over centre of a Gaussian: exp(-1 / (2 · 0.8²))
    assert float(spread[4, 5] / spread[4, 4]) == pytest.approx(np.exp(-1 / 1.28), rel=1e-5)


@pytest.mark.parametrize("add", [stain, weave])
def test_blobs_and_stripes_are_as_strong_as_told_and_follow_their_generator(add: Any) -> None:
    grey = torch.full((2, 3, 64, 64), 128.0)
    one, other = (
        add(grey, torch.tensor([0.0, 20.0]), torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(one, other)
    assert torch.equal(one[0], grey[0])
    assert 5 < float((one[1] - 128).std()) < 25
    halves = (one[1] - 128).square().mean(dim=(0, 2))  # they are all over the picture
    assert float(halves[:32].mean()) > 10
    assert float(halves[32:].mean()) > 10


def test_smears_cover_the_background_alone_and_follow_their_generator() -> None:
    scenes = [World(seed=80).scene(k) for k in range(8)]
    pictures = torch.from_numpy(np.stack([scene.picture for scene in scenes])).float()
    truth = torch.from_numpy(np.stack([scene.label_map for scene in scenes]))
    opacity = torch.tensor([0.0] + [1.0] * 7)
    one, other = (
        smear(pictures, truth, opacity, torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(one, other)
    assert torch.equal(one[0], pictures[0])
    changed = (one - pictures).abs().amax(dim=1) > 8
    ground = torch.isin(truth, torch.tensor([INDEX["grass"], INDEX["sky"], INDEX["tree"]]))
    things = torch.isin(truth, torch.tensor([INDEX["building"], INDEX["car"], INDEX["person"]]))
    assert not changed[things].any()
    assert 0.1 < float(changed[1:][ground[1:]].float().mean()) < 0.9


def test_altered_pictures_stay_in_range_and_follow_their_generator() -> None:
    pictures = torch.from_numpy(np.stack([World(seed=80).scene(k).picture for k in range(8)]))
    truth = torch.from_numpy(np.stack([World(seed=80).scene(k).label_map for k in range(8)]))
    one, other = (augment(pictures, truth, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 255
    same = perturb(pictures, "as rendered", torch.Generator())
    assert torch.equal(same, pictures)


def test_rendered_files_are_the_scenes(tmp_path: Path) -> None:
    from PIL import Image

    source = open_churchyard(parse_spec("churchyard?seed=3"))
    assert render_scenes(source, tmp_path, range(5, 7), label_maps=True) == 2
    name = "churchyard-seed3-000006.png"
    picture = np.asarray(Image.open(tmp_path / "pictures" / name)).transpose(2, 0, 1)
    assert np.array_equal(picture, source.read(6))
    label_map = np.asarray(Image.open(tmp_path / "label-maps" / name))
    assert np.array_equal(label_map, source.label_map(6))


def test_presence_counts_scenes_where_a_class_covers_the_threshold() -> None:
    source = open_churchyard(parse_spec("churchyard?seed=3"))
    entries = presence_by_class(source, 10)
    trees = [(source.label_map(k) == INDEX["tree"]).mean() for k in range(10)]
    tree = entries[INDEX["tree"]]
    assert tree.share == pytest.approx(sum(share >= 0.005 for share in trees) / 10)
    assert tree.area_percent == pytest.approx(100 * np.mean(trees))
    assert presence_table(entries).splitlines()[2].startswith("| sky | 100.0% | 100.0% |")
