"""Instances: the things in a label map, what they look like, and what became of them.

An instance is an 8-connected component of one class, large enough to count. Arrays alone: no
images from files, no torch. Definitions are those of docs/evidence.md.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float64, Integer, UInt8

from unseen.core.errors import SampleError
from unseen.statistics.label_layers import NOTHING, covers

LEAST_AREA = 0.005  # fraction of the image; smaller specks are mislabelled pixels as often as not
_EIGHT = np.ones((3, 3), bool)  # a pixel and its eight neighbours
_RING = 0.03  # width of the ring that contrast is taken against, of the label map's shorter side


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class in a label map.

    Attributes:
        label: the class, as the label map says it.
        box: top, left, bottom, right; the last two are the first row and column beyond it.
        mask: which pixels of the box belong to it.
    """

    label: int
    box: tuple[int, int, int, int]
    mask: Bool[np.ndarray, "bh bw"]

    @property
    def pixels(self) -> int:
        """How many belong to it."""
        return int(self.mask.sum())

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The part of an array (… h w) that lies in the box."""
        top, left, bottom, right = self.box
        return array[..., top:bottom, left:right]


def find_instances(
    label_map: Integer[np.ndarray, "*layers h w"],
    *,
    least_area: float = LEAST_AREA,
    seen: Integer[np.ndarray, "*seen_layers h2 w2"] | None = None,
) -> list[Region]:
    """The 8-connected components of every class that are large enough, class after class.

    Args:
        label_map: the classes; negative values are nothing.
        least_area: fraction of the label map that an instance covers at least.
        seen: what a segmenter says of the same picture, where `label_map` is the truth. An
            instance is then the part of a component that the segmenter sees, counted where that
            is at least half of it: what the segmenter misses no reconstruction can lose.

    Returns:
        Components in the order of class, then of the first pixel in reading order.

    Raises:
        SampleError: the label map is empty, or `seen` is of another size.
    """
    if label_map.size == 0:
        raise SampleError("a label map has no pixels; segment the image again")
    if seen is not None and seen.shape[-2:] != label_map.shape[-2:]:
        raise SampleError(
            f"the true label map is {_size(label_map)}, the segmenter's {_size(seen)}; they must "
            "be of one size"
        )
    size = math.prod(label_map.shape[-2:])
    least = max(1, math.ceil(least_area * size - 1e-9))  # 0.005 · 200 is 1.0000…2
    regions = []
    for label in np.unique(label_map[label_map >= 0]):
        numbered, _ = scipy.ndimage.label(covers(label_map, int(label)), structure=_EIGHT)
        for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(numbered), start=1):
            mask = numbered[rows, columns] == number
            whole = int(mask.sum())
            if seen is not None:
                mask = mask & covers(seen[..., rows, columns], int(label))
            if mask.sum() < least or 2 * mask.sum() < whole:
                continue
            box = (int(rows.start), int(columns.start), int(rows.stop), int(columns.stop))
            regions.append(Region(int(label), box, mask))
    return regions


def perimeter_ratio(region: Region) -> float:
    """Its perimeter over that of a square of the same area: 1 for a square, more for the rest.

    The perimeter counts the sides of pixels that face another pixel or the image's border.
    """
    padded = np.pad(region.mask, 1).astype(np.int8)
    sides = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    return float(sides / (4 * math.sqrt(region.pixels)))


def contrast(region: Region, image: UInt8[np.ndarray, "3 h w"]) -> float:
    """How far its mean colour is from that of the ring around it, 0 to 1.

    Root mean square over the three channels of the difference of means, in 8-bit levels over 255.
    The ring holds the pixels outside of it within 3 % of the image's shorter side (at least one
    pixel), 8-connected; without any, as when it fills the image, the contrast is 0.
    """
    height, width = image.shape[1:]
    reach = max(1, round(_RING * min(height, width)))
    top, left, bottom, right = region.box
    above, before = max(0, top - reach), max(0, left - reach)
    wide = np.zeros((min(height, bottom + reach) - above, min(width, right + reach) - before), bool)
    wide[top - above : bottom - above, left - before : right - before] = region.mask
    ring = scipy.ndimage.binary_dilation(wide, structure=_EIGHT, iterations=reach) & ~wide
    if not ring.any():
        return 0.0
    part = image[:, above : above + wide.shape[0], before : before + wide.shape[1]]
    difference = part[:, wide].mean(axis=1) - part[:, ring].mean(axis=1)  # (3,)
    return float(np.sqrt((difference**2).mean()) / 255)


def retention(region: Region, rebuilt: Integer[np.ndarray, "*layers h w"]) -> float:
    """Share of its pixels that the same class still covers in the rebuilt label map, 0 to 1."""
    return float(covers(region.cut(rebuilt), region.label)[region.mask].mean())


def intersection_over_union(region: Region, rebuilt: Integer[np.ndarray, "*layers h w"]) -> float:
    """With the union of those 8-connected components of its class that share a pixel with it.

    0 where there are none. Unlike retention it falls when the thing is rebuilt too large.
    """
    numbered, _ = scipy.ndimage.label(covers(rebuilt, region.label), structure=_EIGHT)
    touched = np.unique(region.cut(numbered)[region.mask])
    touched = touched[touched > 0]
    if touched.size == 0:
        return 0.0
    there = np.isin(numbered, touched)
    common = int(region.cut(there)[region.mask].sum())
    return float(common / (int(there.sum()) + region.pixels - common))


def became(
    region: Region, rebuilt: Integer[np.ndarray, "*layers h w"], *, most: int = 3
) -> dict[int, float]:
    """The other classes that cover its pixels in the rebuilt label map: the largest shares."""
    labels, counts = np.unique(region.cut(rebuilt)[..., region.mask], return_counts=True)
    shares = {
        int(label): float(count / region.pixels)
        for label, count in zip(labels, counts, strict=True)
        if label not in (region.label, NOTHING)
    }
    return dict(sorted(shares.items(), key=lambda became: (-became[1], became[0]))[:most])


def choose_photographs(
    fraction: Float64[np.ndarray, "n k"],
    *,
    a_class: int,
    share: float = 0.2,
    least_area: float = LEAST_AREA,
    seed: int = 0,
) -> list[list[int]]:
    """For every class, photographs that hold most of it: by a seeded rule, never by hand.

    Of the images in which the class covers `least_area` at least, those `share` that hold most of
    it (and not fewer than `a_class`, where there are as many) are drawn from at random. Chosen so,
    areas are biased upwards; choose the controls by the same call.

    Args:
        fraction: areas of every image of the pool, 0 to 1.
        a_class: images a class.
        share: of the images that hold the class.
        least_area: fraction of an image that counts.
        seed: of the draw; a class's draw does not depend on the other classes.

    Returns:
        Row numbers, ascending, a list a class; shorter where fewer images hold it.

    Raises:
        SampleError: `a_class` below 1, or `share` outside of 0 to 1.
    """
    if a_class < 1 or not 0 < share <= 1:
        raise SampleError(
            f"{a_class} images a class of a share of {share:g} were asked for; at least 1, and a "
            "share above 0 and up to 1, are needed"
        )
    chosen: list[list[int]] = []
    for k, column in enumerate(fraction.T):
        order = np.argsort(-column, kind="stable")  # equal areas in index order
        holding = order[column[order] >= least_area]
        top = holding[: max(a_class, math.ceil(share * len(holding)))]
        drawn = np.random.default_rng((seed, k)).permutation(len(top))[:a_class]
        chosen.append(sorted(int(i) for i in top[drawn]))
    return chosen


def loss_shares(
    labels: Sequence[int], area: Float64[np.ndarray, " n"], retained: Float64[np.ndarray, " n"]
) -> dict[int, float]:
    """For every class, the share of its instances' pixels that is lost over all images.

    Args:
        labels: the class of every instance.
        area: its fraction of its image.
        retained: its retention.
    """
    kinds = np.asarray(labels)
    return {
        int(k): float((area * (1 - retained))[kinds == k].sum() / area[kinds == k].sum())
        for k in np.unique(kinds)
    }


def _size(label_map: np.ndarray) -> str:
    return "×".join(str(side) for side in label_map.shape[-2:])
