"""Images that no churchyard generator was trained on, drawn from a seed: nothing to download.

`python:lab.out_of_domain:visited?seed=7` are churchyard scenes, each with a striped ball that
the world has not; `python:lab.out_of_domain:unrelated?seed=7` are no scenes at all: faces, balls
on a table, stripes and checks, coloured noise.
"""

import colorsys
import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, UInt8

from unseen.churchyard.scene import RENDERER_VERSION, World
from unseen.core.files import sha256_of_parts
from unseen.images.naming import NumberedNames

VERSION = 1  # of the pictures: changes when any does
_FINE = 4  # samples a pixel, a side

Picture = Float32[np.ndarray, "h w 3"]  # 0 to 255
Plane = Float32[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True)
class ForeignSource:
    """Pictures by index; they never end."""

    kind: str  # a name in this module
    seed: int
    resolution: int

    endless: ClassVar[bool] = True

    @property
    def spec(self) -> str:
        """What opens it again."""
        options = f"seed={self.seed}&resolution={self.resolution}"
        return f"python:lab.out_of_domain:{self.kind}?{options}"

    @property
    def names(self) -> Sequence[str]:
        """One name an index."""
        return NumberedNames(f"{self.kind}-seed{self.seed}-{{:06d}}")

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Picture `index`."""
        dice = np.random.default_rng([self.seed, index])
        if self.kind == "visited":
            scene = World(seed=self.seed, resolution=self.resolution).scene(index).picture
            background = np.moveaxis(scene, 0, -1).astype(np.float32)
            picture = _coarse(_with_ball(dice, np.kron(background, np.ones((_FINE, _FINE, 1)))))
        else:
            draw = _UNRELATED[dice.integers(len(_UNRELATED))]
            picture = _coarse(draw(dice, self.resolution * _FINE))
            picture += dice.normal(0, 3, picture.shape).astype(np.float32)  # as a sensor would
        pixels = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))

    def fingerprint(self) -> str:
        """SHA-256 of what decides the pictures."""
        return sha256_of_parts([self.spec, str(VERSION), str(RENDERER_VERSION)])


def visited(seed: str = "0", resolution: str = "64") -> ForeignSource:
    """Churchyard scenes, each with a striped ball."""
    return ForeignSource("visited", int(seed), int(resolution))


def unrelated(seed: str = "0", resolution: str = "64") -> ForeignSource:
    """Faces, balls, stripes and noise."""
    return ForeignSource("unrelated", int(seed), int(resolution))


def _coarse(picture: Float[np.ndarray, "fine_h fine_w 3"]) -> Picture:
    """The mean over the samples of each pixel."""
    side = len(picture) // _FINE
    coarse: Picture = picture.reshape(side, _FINE, side, _FINE, 3).mean(axis=(1, 3))
    return coarse.astype(np.float32)


def _grid(side: int) -> tuple[Plane, Plane]:
    """X to the right and y down, 0 to 1."""
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side
    return centres[None, :].repeat(side, axis=0), centres[:, None].repeat(side, axis=1)


def _colour(
    dice: np.random.Generator, saturation: float = 0.7, value: float = 0.85
) -> Float32[np.ndarray, "3"]:
    rgb = colorsys.hsv_to_rgb(dice.random(), saturation, value * dice.uniform(0.7, 1.0))
    return 255 * np.array(rgb, np.float32)


def _ball(
    x: Plane, y: Plane, at: tuple[float, float], radius: float
) -> tuple[np.ndarray, Plane, Plane]:
    """Where a ball is, its light (0 to 1), and the angle around its axis."""
    u, v = (x - at[0]) / radius, (y - at[1]) / radius
    inside = u**2 + v**2 < 1
    depth = np.sqrt(np.maximum(0, 1 - u**2 - v**2))
    light = np.clip(0.35 + 0.65 * (-0.45 * u - 0.6 * v + 0.66 * depth), 0.15, 1)
    return inside, light, np.arctan2(u + 0.4 * v, depth + 1e-6)


def _with_ball(dice: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """A striped ball before all that is there, in the lower part of the picture."""
    x, y = _grid(len(picture))
    radius = dice.uniform(0.12, 0.22)
    at = dice.uniform(0.2, 0.8), dice.uniform(0.55, 0.95 - radius)
    inside, light, angle = _ball(x, y, at, radius)
    stripe = (np.floor(angle * 6 / np.pi) % 2 == 0)[..., None]
    ball = np.where(stripe, _colour(dice, 0.85, 1.0), np.float32(245)) * light[..., None]
    return np.where(inside[..., None], ball, picture)


def _face(dice: np.random.Generator, side: int) -> Picture:
    """An oval with eyes, a mouth and hair on a plain wall."""
    x, y = _grid(side)
    picture = np.broadcast_to(_colour(dice, 0.3), (side, side, 3)).copy()
    cx, cy = 0.5 + dice.uniform(-0.06, 0.06), 0.52 + dice.uniform(-0.05, 0.05)
    wide, high = dice.uniform(0.2, 0.28), dice.uniform(0.3, 0.36)
    skin = np.array([224, 172, 125], np.float32) * dice.uniform(0.45, 1.1)
    hair = _colour(dice, 0.5, 0.4)

    def oval(ox: float, oy: float, a: float, b: float) -> np.ndarray:
        inside: np.ndarray = ((x - ox) / a) ** 2 + ((y - oy) / b) ** 2 < 1
        return inside

    shoulders = ((x - cx) / 0.42) ** 2 + ((y - 1.12) / 0.3) ** 2 < 1
    picture[shoulders] = _colour(dice)
    picture[oval(cx, cy - 0.07, wide * 1.18, high * 1.1)] = hair
    shade = (1.05 - 0.35 * np.abs(x - cx) / wide)[..., None]
    face = oval(cx, cy + 0.02, wide, high)
    picture = np.where(face[..., None], skin * shade, picture)
    picture[face & (y < cy - 0.55 * high)] = hair
    for eye in (-0.42 * wide, 0.42 * wide):
        picture[oval(cx + eye, cy - 0.04, 0.045, 0.026)] = 245
        picture[oval(cx + eye, cy - 0.04, 0.02, 0.024)] = 30
    smile = (y - cy - 0.17) - dice.uniform(-0.3, 0.3) * (x - cx) ** 2 / wide
    picture[(np.abs(smile) < 0.016) & (np.abs(x - cx) < 0.45 * wide)] = (165, 60, 60)
    return picture.astype(np.float32)


def _balls(dice: np.random.Generator, side: int) -> Picture:
    """A few balls on a table before a wall."""
    x, y = _grid(side)
    table = dice.uniform(0.55, 0.7)
    wall = _colour(dice, 0.35) * (1.0 - 0.3 * y[..., None])
    wood = _colour(dice, 0.5, 0.6) * (0.75 + 0.4 * y[..., None])
    picture = np.where((y > table)[..., None], wood, wall)
    for _ in range(dice.integers(1, 5)):
        radius = dice.uniform(0.1, 0.22)
        at = dice.uniform(0.15, 0.85), dice.uniform(table, 0.9) - radius * 0.5
        shadow = ((x - at[0] - 0.04) / radius) ** 2 + ((y - at[1] - radius) / (radius / 4)) ** 2 < 1
        picture[shadow] *= 0.55
        inside, light, _ = _ball(x, y, at, radius)
        ball = _colour(dice, 0.85, 1.0) * light[..., None]
        picture = np.where(inside[..., None], ball, picture)
    return picture.astype(np.float32)


def _stripes(dice: np.random.Generator, side: int) -> Picture:
    """Stripes or checks, turned."""
    x, y = _grid(side)
    turn, period = dice.uniform(0, np.pi), dice.uniform(0.12, 0.4)
    along = (x * np.cos(turn) + y * np.sin(turn)) / period
    across = (y * np.cos(turn) - x * np.sin(turn)) / period
    cells = np.floor(along) + (np.floor(across) if dice.random() < 0.5 else 0)
    return np.where((cells % 2 == 0)[..., None], _colour(dice), _colour(dice, 0.2)).astype(
        np.float32
    )


def _noise(dice: np.random.Generator, side: int) -> Picture:
    """Coloured noise whose amplitude falls as a power of the frequency, as marble or clouds."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]) * side
    weight = np.maximum(frequency, 1) ** -dice.uniform(1.2, 2.0)
    weight[0, 0] = 0
    waves = np.fft.fft2(dice.standard_normal((3, side, side)))
    planes = np.fft.ifft2(waves * weight).real
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mixed = np.einsum("ij,jhw->hwi", np.eye(3) + 0.8 * dice.random((3, 3)), planes)
    picture: Picture = (_colour(dice, 0.3, 0.75) + 30 * mixed).clip(0, 255).astype(np.float32)
    return picture


_UNRELATED: tuple[Callable[[np.random.Generator, int], Picture], ...] = (
    _face,
    _balls,
    _stripes,
    _noise,
)
