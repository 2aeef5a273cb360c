"""The metric gives what `unseen.compare` gives, in one process and between two."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import unseen
from unseen.core.errors import ImageError, SampleError
from unseen.integrations import SegmentationStatistics


class Brightness:
    """Five classes by brightness: a segmenter that takes no time."""

    def __init__(self) -> None:
        self.channels = {"object": ("none", "dark", "dim", "light", "bright")}
        self.resolution = 8
        self.provenance = {"spec": "brightness"}

    def label_maps(self, images: np.ndarray, channel: str = "object") -> np.ndarray:
        return (images.mean(axis=1) // 52).astype(np.int64)


def pictures(n: int, *, seed: int, high: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, high, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)


REAL, FAKES = pictures(40, seed=1), pictures(31, seed=2, high=200)


def fed(metric: SegmentationStatistics, *, batch: int = 7) -> SegmentationStatistics:
    for real, images in ((True, REAL), (False, FAKES)):
        for part in images.split(batch):
            metric.update(part, real=real)
    return metric


def rows(comparison: unseen.Comparison):
    (side,) = comparison.generated
    return side.fsd, side.classes, side.power


def test_any_batches_give_bit_for_bit_what_compare_gives() -> None:
    whole = unseen.compare(REAL.numpy(), FAKES.numpy(), Brightness(), workers=0)
    for batch in (7, 40):
        assert rows(fed(SegmentationStatistics(Brightness()), batch=batch).comparison()) == rows(
            whole
        )


def test_the_numbers_are_those_of_the_record() -> None:
    metric = fed(SegmentationStatistics(Brightness()))
    numbers = metric.compute()
    (side,) = metric.comparison().generated
    assert numbers["fsd"].item() == side.fsd.corrected
    assert numbers["fsd_low"].item() == side.fsd.interval[0]
    counts = side.counts
    assert {verdict: numbers[verdict].item() for verdict in counts} == counts
    assert sum(counts.values()) == 4  # without the word for no class
    assert all(number.shape == () for number in numbers.values())


def test_floats_need_their_range_and_give_the_same() -> None:
    metric = SegmentationStatistics(Brightness(), value_range=(0, 1))
    for real, images in ((True, REAL), (False, FAKES)):
        metric.update(images / 255.0, real=real)
    assert rows(metric.comparison()) == rows(fed(SegmentationStatistics(Brightness())).comparison())
    with pytest.raises(ImageError):
        SegmentationStatistics(Brightness()).update(REAL / 255.0, real=True)


@pytest.mark.parametrize("reset_real", [True, False])
def test_reset_forgets_the_real_side_only_where_it_is_asked_to(reset_real: bool) -> None:
    metric = fed(SegmentationStatistics(Brightness(), reset_real=reset_real))
    before = metric.compute()
    metric.reset()
    metric.update(FAKES, real=False)
    if reset_real:
        with pytest.raises(SampleError):
            metric.compute()
    else:
        assert metric.compute() == before


def test_a_side_without_images_is_named() -> None:
    metric = SegmentationStatistics(Brightness())
    metric.update(REAL, real=True)
    with pytest.raises(SampleError, match="generated side has 0 images"):
        metric.compute()


def test_copies_and_pickles_count_on_by_themselves() -> None:
    metric = fed(SegmentationStatistics(Brightness()))
    numbers = metric.compute()
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert other.compute() == numbers
        other(pictures(5, seed=3), real=False)
        assert other.compute() != numbers
    assert metric.compute() == numbers


RANK = """
import sys, torch, torch.distributed as dist
sys.path.insert(0, sys.argv[4])
from test_segmentation_statistics import Brightness, FAKES, REAL, rows, SegmentationStatistics
rank, place, uneven = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "uneven"
dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
metric = SegmentationStatistics(Brightness())
parts = (REAL[:25], REAL[25:]) if not uneven else (REAL, REAL[:0])
if len(parts[rank]):
    metric.update(parts[rank], real=True)
metric.update((FAKES[:8], FAKES[8:])[rank], real=False)
together = metric.comparison()
assert len(metric.areas(real=False)) == len((FAKES[:8], FAKES[8:])[rank])  # unsynced afterwards
alone = SegmentationStatistics(Brightness(), sync_on_compute=False)
alone.update(REAL, real=True), alone.update(FAKES, real=False)
assert rows(together) == rows(alone.comparison())
dist.destroy_process_group()
"""


@pytest.mark.parametrize("share", ["even", "uneven"])
def test_two_ranks_give_bit_for_bit_the_same(share: str, tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), share, here],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        _, said = rank.communicate(timeout=120)
        assert rank.returncode == 0, said
