"""Groups of regions: what is learnt apart, what is familiar, and a group as a class."""

import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

import unseen
from unseen.core.errors import CheckpointError, MissingExtraError, SampleError, SegmenterError
from unseen.segmenters.embedding import load_embedding
from unseen.segmenters.groups import (
    Groups,
    GroupSegmenter,
    learn_groups,
    read_groups,
    save_groups,
)

STRANGE = 3  # images with a strange patch


def patches(seed: int, *, strange: bool) -> Float32[np.ndarray, "n 8 8 6"]:
    """Ordinary patches around the origin; of the first images one patch lies far away."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((40, 8, 8, 6)).astype(np.float32)
    if strange:
        drawn[:STRANGE, 2, 5] += 30.0
    return drawn


@pytest.fixture(scope="module")
def groups() -> Groups:
    return learn_groups([patches(1, strange=True)], [patches(2, strange=False)], groups=4)


def test_what_is_far_from_all_that_is_familiar_is_a_group(groups: Groups) -> None:
    """In images that were not learnt of: the strange patches and they alone share a group."""
    labels = groups.labels(patches(3, strange=True))
    group = labels[0, 2, 5]
    assert group > 0
    assert np.argwhere(labels == group).tolist() == [[k, 2, 5] for k in range(STRANGE)]
    assert (groups.labels(patches(4, strange=False)) == 0).mean() > 0.9


def test_labels_are_those_of_the_nearest_centre(groups: Groups) -> None:
    """By all distances in principal components, one patch at a time."""
    some = patches(5, strange=True)
    centres = [*groups.familiar, *groups.centres]
    for image, row, column in [(0, 2, 5), (1, 0, 0), (39, 7, 7), (20, 4, 1)]:
        place = groups.axes @ (some[image, row, column] - groups.mean)
        nearest = int(np.argmin([((place - centre) ** 2).sum() for centre in centres]))
        expected = max(nearest - len(groups.familiar) + 1, 0)
        assert groups.labels(some)[image, row, column] == expected


def test_batches_change_nothing() -> None:
    real, generated = patches(1, strange=True), patches(2, strange=False)
    whole = learn_groups([real], [generated], groups=4)
    parts = learn_groups([real[:7], real[7:]], [generated[:30], generated[30:]], groups=4)
    for name in ("mean", "axes", "centres", "familiar"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_too_few_patches_are_refused() -> None:
    with pytest.raises(SampleError, match="480"):
        learn_groups([patches(1, strange=True)], [patches(2, strange=False)[:8]], groups=4)
    with pytest.raises(SampleError, match="30"):
        learn_groups([patches(1, strange=True)], [patches(2, strange=False)], groups=30)


def test_without_scikit_learn_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match="scikit-learn"):
        learn_groups([], [])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of the churchyard's features, whatever they are."""
    embedding = load_embedding("churchyard", device="cpu")
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((3, 40)).astype(np.float32)
    groups = Groups(
        np.zeros(40, np.float32), np.eye(40, dtype=np.float32), centres[:2], centres[2:]
    )
    path = tmp_path_factory.mktemp("groups") / "groups.safetensors"
    about = {"embedding": "churchyard", "embedding_provenance": embedding.provenance}
    save_groups(path, groups, about)
    return path


def test_a_group_is_a_class_of_a_segmenter(saved: Path) -> None:
    """Only the group that was asked for is a class, by its name; the rest is none."""
    images = np.random.default_rng(1).integers(0, 256, (3, 3, 64, 64), np.uint8)
    embedding = load_embedding("churchyard", device="cpu")
    groups, _ = read_groups(saved)
    expected = groups.labels(embedding.patches(images))
    assert {1, 2} & set(np.unique(expected))  # else the test shows nothing
    every = unseen.load_segmenter(f"groups:{saved}", device="cpu")
    assert every.channels["object"] == ("none", "group 1", "group 2")
    np.testing.assert_array_equal(every.label_maps(images, "object"), expected)
    chosen = unseen.load_segmenter(f"groups:{saved}?classes=2=red balloon", device="cpu")
    assert chosen.channels["object"] == ("none", "red balloon")
    np.testing.assert_array_equal(chosen.label_maps(images, "object"), expected == 2)


def test_groups_that_are_not_there_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(SegmenterError, match="no group 3"):
        unseen.load_segmenter(f"groups:{saved}?classes=3", device="cpu")
    with pytest.raises(SegmenterError, match="balloon"):
        unseen.load_segmenter(f"groups:{saved}?classes=balloon", device="cpu")
    with pytest.raises(CheckpointError, match="missing"):
        unseen.load_segmenter(f"groups:{tmp_path / 'missing'}", device="cpu")
    from unseen.churchyard.segmenter import WEIGHTS

    with pytest.raises(CheckpointError, match="no groups"):
        read_groups(WEIGHTS)


def test_groups_of_other_weights_are_refused(saved: Path, tmp_path: Path) -> None:
    groups, about = read_groups(saved)
    path = tmp_path / "groups.safetensors"
    save_groups(path, groups, {**about, "embedding_provenance": {"spec": "churchyard"}})
    with pytest.raises(CheckpointError, match="other weights"):
        unseen.load_segmenter(f"groups:{path}", device="cpu")


def test_a_segmenter_of_groups_is_one(saved: Path) -> None:
    groups, _ = read_groups(saved)
    with pytest.raises(SegmenterError, match="no group 0"):
        GroupSegmenter(load_embedding("churchyard"), groups, provenance={}, chosen={0: "a"})
