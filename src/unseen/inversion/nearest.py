"""Rebuild images from the nearest samples: a seventh way, without an optimiser and an inverter.

Every spot of an image shows the sample that is most like the image around that spot. An object that
the generator draws has been drawn, somewhere among thousands of samples, about there and about so;
one that it never draws has not, and what stands in its place is the best that it has. Each pixel
keeps the label that the segmenter gave it in its own sample, where nothing was put together.

The mosaic searches what the generator *draws*, where method f searches what its late layers could.
Its reference is the same mosaic of as many other photographs: what a perfect generator would keep.
`NearestSample` finds the one sample that is most like a whole image, from which a search begins.
Sources: patches as witnesses of what a set of images lacks are those of Simakov, Caspi, Shechtman
and Irani, CVPR 2008 (completeness); nearest samples as a measure of coverage those of Kynkäänniemi,
Karras, Laine, Lehtinen and Aila, NeurIPS 2019 (recall).
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt8
from torch import Tensor
from torch.nn import functional

from unseen.core.errors import ImageError, SpecError
from unseen.generators import Generator
from unseen.generators.drawn_images import DrawnImages
from unseen.images.pixels import to_unit
from unseen.inversion.perceptual import Perceptual

if TYPE_CHECKING:
    from unseen.inversion.methods import Inversion

SAMPLES_SEED = 50_005  # of the samples, and of the photographs that the reference shows
WHOLE_CELLS = 8  # a side, where a whole image is compared
_DESCRIBED_AT_ONCE = 64  # samples whose features are computed in one call
CELLS = 32  # a side: the sample is chosen anew for each; fewer where images are below 64 pixels
_SCALED_BY = 64  # samples, by whose mean distances pixels and features are made comparable
_FEATURES = 0.5  # of the weight of pixels: more finds what looks like nothing but has its features
_PAIRS = 8192  # of images and samples whose distances are held at once


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """What a generator drew, or photographs, and what a segmenter sees in them.

    Attributes:
        images: (n, 3, h, w), 8-bit.
        label_maps: (n, h2, w2), or with layers.
    """

    images: UInt8[np.ndarray, "n 3 h w"]
    label_maps: Integer[np.ndarray, "n *layers h2 w2"]


@dataclasses.dataclass(frozen=True, eq=False)
class Mosaic:
    """One image, rebuilt; without a batch axis. Where it failed, it is NaN and has no label map."""

    row: int  # in the batch
    reconstruction: Tensor  # (3, h, w), in [−1, 1]
    samples: Int[Tensor, "cells cells"]  # which sample each cell shows
    label_map: Integer[np.ndarray, "*layers h2 w2"] | None
    loss: float  # mean distance over the cells
    terms: Mapping[str, float]  # "pixel": mean |x' − x|
    failed: str | None = None
    steps: int = 0  # nothing is optimised

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is kept of it."""
        return {"reconstruction": self.reconstruction, "samples": self.samples}


class NearestSamples:
    """The mosaic of nearest samples, made ready; called with a batch of images.

    With P and F the mean absolute differences of pixels and of features in one cell, each over
    its mean between samples, a sample's distance at a cell is the mean of
    P + ½ · perceptual_weight · F over all cells, weighted by a Gaussian around it whose standard
    deviation is `window` times the image's side. The sample with the least is shown there.
    """

    def __init__(
        self,
        settings: "Inversion",
        draw: Callable[[], Samples],
        *,
        resolution: int,
        perceptual: Perceptual | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Check that everything goes together.

        Args:
            settings: the window and the weight.
            draw: gives the samples; called once, when they are first needed.
            resolution: of images and samples.
            perceptual: features (n, c, h, w); None: pixels alone.
            device: where distances are computed; the features' own.

        Raises:
            SpecError: a window that is not above 0, or features without a place.
        """
        if not settings.window > 0:
            raise SpecError(
                f"the window is {settings.window:g}; it is a share of the image's side above 0, "
                "such as 0.05"
            )
        if perceptual is not None and perceptual.name == "latents":
            raise SpecError(
                "nearest samples are compared place by place, and the features 'latents' have no "
                "place; choose others, or none"
            )
        self._settings, self._draw, self._perceptual = settings, draw, perceptual
        self._resolution, self._device = resolution, torch.device(device)
        self._cells = min(CELLS, resolution // 2)
        self._kernel = _gaussian(self._cells, settings.window * self._cells).to(self._device)

    @functools.cached_property
    def samples(self) -> Samples:
        """Drawn when they are asked for."""
        return self._draw()

    @functools.cached_property
    def _scales(self) -> list[float]:
        """Mean distance of two samples in a cell, of pixels and of features."""
        return _scales(self._describe(torch.from_numpy(to_unit(self.samples.images[:_SCALED_BY]))))

    @torch.no_grad()
    def __call__(
        self,
        images: Float[Tensor, "n 3 h w"],
        *,
        numbers: Sequence[int] | None = None,
        asked: Sequence[str] | None = None,
    ) -> Iterator[Mosaic]:
        """Rebuild a batch, in its order.

        Args:
            images: in [−1, 1], of the samples' resolution.
            numbers: not used: nothing is random.
            asked: not used: samples are asked for as the generator asks for them.

        Raises:
            ImageError: another resolution.
        """
        del numbers, asked
        if images.shape[2:] != (self._resolution, self._resolution):
            raise ImageError(
                f"images of {images.shape[3]}×{images.shape[2]} for samples of {self._resolution}×"
                f"{self._resolution}; prepare them to that resolution"
            )
        wanted = self._describe(images)
        best = torch.full((self._cells**2, len(images)), torch.inf, device=self._device)
        chosen = torch.full_like(best, -1, dtype=torch.long)
        at_once = max(1, _PAIRS // max(1, len(images)))
        for start in range(0, len(self.samples.images), at_once):
            some = torch.from_numpy(to_unit(self.samples.images[start : start + at_once]))
            distance, nearest = self._distances(wanted, self._describe(some)).min(dim=2)
            better = distance < best
            best = torch.where(better, distance, best)
            chosen = torch.where(better, nearest + start, chosen)
        loss = best.mean(dim=0).cpu()
        cells = chosen.T.reshape(len(images), self._cells, self._cells).cpu()
        for row in range(len(images)):
            yield self._assemble(row, images[row].cpu(), cells[row], float(loss[row]))

    def _describe(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "cells n _"]]:
        compared = self._perceptual if self._settings.perceptual_weight else None
        return _describe(images.to(self._device), self._cells, compared)

    def _distances(
        self, images: Sequence[Tensor], samples: Sequence[Tensor]
    ) -> Float[Tensor, "cells n m"]:
        """Of every image from every sample, around every cell."""
        side = self._cells
        distance = _distances(images, samples, self._settings.perceptual_weight, self._scales)
        rows = self._kernel @ distance.reshape(side, -1)
        both = self._kernel @ rows.reshape(side, side, -1)
        return both.reshape(distance.shape)

    def _assemble(self, row: int, image: Tensor, cells: Tensor, loss: float) -> Mosaic:
        """The picture and the label map that the cells show."""
        if cells.min() < 0:
            return Mosaic(
                row=row,
                reconstruction=torch.full_like(image, torch.nan),
                samples=cells,
                label_map=None,
                loss=loss,
                terms={},
                failed="its distance from the samples is not a number",
            )
        shown = cells.numpy()
        pixels = _enlarged(shown, image.shape[1:])
        rows, columns = np.indices(pixels.shape)
        picture = to_unit(self.samples.images[pixels, :, rows, columns].transpose(2, 0, 1))
        labels = _enlarged(shown, self.samples.label_maps.shape[-2:])
        label_map = self.samples.label_maps[(labels, ..., *np.indices(labels.shape))]
        rebuilt = torch.from_numpy(picture)
        return Mosaic(
            row=row,
            reconstruction=rebuilt,
            samples=cells,
            label_map=np.moveaxis(label_map, (0, 1), (-2, -1)),
            loss=loss,
            terms={"pixel": float((rebuilt - image).abs().mean())},
        )


class NearestSample:
    """The sample that is most like a whole image, of which the latents are known.

    Its distance is the mean of P + ½ · perceptual_weight · F over the cells, as of a mosaic whose
    window is the whole image.

    Args:
        generator: whose samples, the first ones of `SAMPLES_SEED`.
        count: how many samples.
        perceptual: features (n, c, h, w); None: pixels alone.
        weight: perceptual_weight.
        device: where distances are computed; the features' own.

    Raises:
        SpecError: fewer than two samples.
    """

    def __init__(
        self,
        generator: Generator,
        count: int,
        *,
        perceptual: Perceptual | None,
        weight: float,
        device: torch.device,
    ) -> None:
        if count < 2:
            raise SpecError(f"the nearest of {count} samples was asked for; 2 are needed at least")
        self._images = DrawnImages(generator, seed=SAMPLES_SEED)
        self._count, self._weight, self._device = count, weight, device
        # Features without a place cannot be pooled to cells.
        flat = perceptual is not None and perceptual.name == "latents"
        self._perceptual = None if flat or not weight else perceptual

    @functools.cached_property
    def _samples(self) -> list[Float[Tensor, "cells m _"]]:
        """The samples' description: they are drawn when it is asked for, and not kept."""
        drawn = self._images.images(range(self._count))
        blocks = []
        while some := list(itertools.islice(drawn, _DESCRIBED_AT_ONCE)):
            blocks.append(self._describe(torch.from_numpy(to_unit(np.stack(some)))))
        return [torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True)]

    @functools.cached_property
    def _between(self) -> list[float]:
        return _scales([part[:, :_SCALED_BY] for part in self._samples])

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> list[int]:
        """The index of the nearest sample of every image."""
        ours = self._describe(images)
        distance = _distances(ours, self._samples, self._weight, self._between)
        nearest: list[int] = distance.mean(dim=0).argmin(dim=1).tolist()
        return nearest

    def _describe(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "cells n _"]]:
        with torch.no_grad():
            return _describe(images.to(self._device), WHOLE_CELLS, self._perceptual)


def _describe(
    images: Float[Tensor, "n 3 h w"], side: int, perceptual: Perceptual | None
) -> list[Float[Tensor, "cells n _"]]:
    """What cells are compared by: 2 × 2 pixels, and features."""
    pixels = functional.adaptive_avg_pool2d(images, 2 * side)
    maps = [functional.pixel_unshuffle(pixels, 2)]
    if perceptual is not None:
        features = perceptual.features(images).float()
        if features.shape[2] >= side and features.shape[3] >= side:
            maps.append(functional.adaptive_avg_pool2d(features, side))
        else:
            maps.append(functional.interpolate(features, size=(side, side), mode="nearest"))
    return [cells.permute(2, 3, 0, 1).reshape(side**2, len(images), -1) for cells in maps]


def _scales(parts: Sequence[Float[Tensor, "cells n _"]]) -> list[float]:
    """Mean distance of two samples in a cell, of pixels and of features."""
    n = parts[0].shape[1]
    return [float(torch.cdist(part, part, p=1).sum() / (n * (n - 1))) / len(part) for part in parts]


def _distances(
    images: Sequence[Float[Tensor, "cells n _"]],
    samples: Sequence[Float[Tensor, "cells m _"]],
    weight: float,
    scales: Sequence[float],
) -> Float[Tensor, "cells n m"]:
    """P + ½ · weight · F of every image and sample, cell by cell."""
    weights = (1.0, _FEATURES * weight)
    parts = [
        torch.cdist(ours, theirs, p=1) * (own / scale)
        for ours, theirs, own, scale in zip(images, samples, weights, scales, strict=False)
    ]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _gaussian(side: int, deviation: float) -> Float[Tensor, "side side"]:
    """Weights of a line's cells around each of them; rows sum to 1, at the border too."""
    places = torch.arange(side, dtype=torch.float32)
    weights = torch.exp(-(((places[:, None] - places) / deviation) ** 2) / 2)
    return weights / weights.sum(dim=1, keepdim=True)


def _enlarged(cells: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Each cell repeated over the pixels that it covers."""
    rows, columns = (np.arange(length) * len(cells) // length for length in size)
    return cells[rows[:, None], columns]
