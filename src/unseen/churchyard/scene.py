"""Scenes of the churchyard: where everything stands, and the picture with its label map.

A scene is a function of (world, index) and of nothing else: not of the order, the process or the
scenes before. `RENDERER_VERSION` changes whenever any pixel of any scene does.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.churchyard import scene_objects
from unseen.churchyard.canvas import Canvas
from unseen.churchyard.church import Removed, church_shadow, draw_church, draw_plan
from unseen.churchyard.classes import REMOVABLE
from unseen.churchyard.dice import Dice, mix, mix_text
from unseen.churchyard.view import darker, draw_view, vary
from unseen.core.errors import SpecError

RENDERER_VERSION = 1

# Probability that a scene holds any of a class. Palm, flag, fountain and horse are rare on purpose:
# they are the classes of about 5, 2, 1 and 0.5 % presence that calibration takes away.
FREQUENCY = {
    "mountain": 0.42,
    "path": 0.8,
    "road": 0.46,
    "car": 0.42,
    "person": 0.55,
    "fence": 0.42,
    "gravestone": 0.36,
    "lamp": 0.2,
    "signboard": 0.13,
    "palm": 0.054,
    "flag": 0.022,
    "fountain": 0.0105,
    "horse": 0.0062,
}

_FOREMOST = 2.0  # a foot below all others, which are drawn before


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture, 8-bit RGB, and the class of each of its pixels."""

    picture: UInt8[np.ndarray, "3 h w"]
    label_map: UInt8[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """All scenes of one seed.

    Attributes:
        seed: any whole number from 0.
        resolution: side in pixels, a power of two from 16 to 1024.
        without: class → share of its scenes that lose it, 0 to 1. The rest of a scene stays as it
            was: the objects and their shadows are not drawn.
        least_frequency: raises the probability of every rarer class to this. Training a segmenter
            on a world of rare things needs it; 0 is the world as it is.
        balloon: share of scenes with a red balloon, which no class names: its pixels are labelled
            as sky. The rest of a scene stays as it is.
    """

    seed: int = 0
    resolution: int = 64
    without: tuple[tuple[str, float], ...] = ()
    least_frequency: float = 0.0
    balloon: float = 0.0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SpecError(f"the churchyard's seed is {self.seed}; it is at least 0")
        if not 16 <= self.resolution <= 1024 or self.resolution & (self.resolution - 1):
            raise SpecError(
                f"the churchyard's resolution is {self.resolution}; "
                "it is a power of two from 16 to 1024"
            )
        for name, share in self.without:
            if name not in REMOVABLE:
                raise SpecError(
                    f"the churchyard cannot be without {name!r}; it can be without "
                    + ", ".join(REMOVABLE)
                )
            if not 0 <= share <= 1:
                raise SpecError(f"{name}:{share:g} is no share of scenes; write 0 to 1")

    def scene(self, index: int) -> Scene:
        """Scene `index`, any whole number from 0."""
        return _Composer(self, index).scene()

    def has_balloon(self, index: int) -> bool:
        """Whether scene `index` has a balloon."""
        return _balloon_dice(self, index).chance(self.balloon)

    def removed(self, index: int) -> frozenset[str]:
        """The classes that `without` takes from scene `index`, were they there or not."""
        state = mix(mix(0, self.seed), index)
        return frozenset(
            name
            for name, share in self.without
            if Dice(mix_text(state, f"without {name}")).between(0, 1) < share
        )


def _balloon_dice(world: World, index: int) -> Dice:
    return Dice(mix(mix_text(mix(mix(0, world.seed), index), "balloon"), 0))


class _Composer:
    """One scene in the making."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index = world, index
        self.state = mix(mix(0, world.seed), index)
        self.removed = world.removed(index)
        self.view = draw_view(self.dice("view"))
        self.plan = draw_plan(self.dice("plan"), self.view)
        mood, view = self.view.mood, self.view
        dark = mood.shadow
        self.canvas = Canvas(
            world.resolution,
            light=mood.light,
            haze=view.haze,
            shadow=(dark, dark * 1.02, min(1.0, dark * 1.1)),
            bright=0.7 + 0.4 * mood.contrast,
        )
        layout = self.dice("layout")
        self.has_road = self.there("road", layout)
        self.road_across = layout.chance(0.76)
        self.road_top = layout.between(0.8, 0.9)
        self.road_bottom = self.road_top + layout.between(0.1, 0.18)
        self.road_x = layout.pick((layout.between(-0.1, 0.25), layout.between(0.75, 1.1)))
        self.road_end = (
            layout.between(0.05, 0.25) if self.road_x < 0.5 else layout.between(0.75, 0.95)
        )
        self.has_path = self.there("path", layout)
        self.path_x = layout.between(0.2, 0.8)
        self.path_bend = layout.between(-0.12, 0.12)
        self.items: list[tuple[float, Callable[[], None]]] = []

    def dice(self, name: str, number: int = 0) -> Dice:
        """The stream of one object."""
        return Dice(mix(mix_text(self.state, name), number))

    def there(self, name: str, dice: Dice) -> bool:
        """Whether the scene holds the class, removed or not."""
        return dice.chance(max(FREQUENCY[name], self.world.least_frequency))

    def scene(self) -> Scene:
        """Draw from far to near."""
        self.clouds()
        self.mountains()
        self.tree_line()
        self.ground()
        self.road()
        self.path()
        self.canvas.end_of_ground()
        self.add(self.plan.base, self.church)
        church_shadow(self.canvas, self.view, self.plan)
        self.trees()
        for name in ("gravestone", "fence", "lamp", "signboard", "palm"):
            getattr(self, f"{name}s")()
        for name in ("flag", "fountain", "horse"):
            self.single(name)
        self.cars()
        self.persons()
        self.balloon()
        self.items.sort(key=lambda item: item[0])
        for _, draw in self.items:
            draw()
        return self.finish()

    def add(self, base: float, draw: Callable[[], None]) -> None:
        """Something that stands with its foot at y = base."""
        self.items.append((base, draw))

    # --- sky and distance -------------------------------------------------------------------

    def clouds(self) -> None:
        """Heaps of cloud, and sometimes long streaks."""
        dice = self.dice("cloud")
        if not dice.chance(self.view.mood.cloudy) or "cloud" in self.removed:
            return
        canvas, view = self.canvas, self.view
        white = {
            "noon": (250, 252, 255),
            "morning": (255, 244, 234),
            "golden hour": (255, 226, 206),
            "overcast": (228, 231, 235),
            "dusk": (226, 168, 176),
        }[view.mood.name]
        glow = view.mood.name in ("golden hour", "dusk")
        tint = darker(white, 0.92) if glow else white
        for k in range(dice.integer(1, 4)):
            own = self.dice("cloud", k + 1)
            far = own.between(0, 1)
            x, y = own.between(-0.05, 1.05), own.between(0.05, 0.06 + (view.horizon - 0.12) * far)
            wide = own.between(0.09, 0.24) * (1.15 - 0.5 * far)
            flat = wide * own.between(0.24, 0.42)
            haze = 0.25 * far
            under = canvas.part("cloud", darker(tint, 0.8), "cloud", 0.06, haze=haze, glows=True)
            upper = canvas.part("cloud", tint, "cloud", 0.06, haze=haze, glows=True)
            if own.chance(0.2):  # a streak
                thin = flat * 0.3
                canvas.ellipse(x, y, wide * 1.5, thin, upper)
                canvas.ellipse(x + wide * 0.7, y + thin, wide, thin * 0.7, under)
                continue
            puffs = [
                (
                    x + wide * (-0.75 + 1.5 * n / 4) + wide * own.between(-0.1, 0.1),
                    y - flat * own.between(0.0, 0.5) * (1 - abs(n - 2) * 0.4),
                    flat * own.between(0.55, 1.0),
                )
                for n in range(5)
            ]
            for px, py, radius in puffs:
                canvas.ellipse(px, py + radius * 0.25, radius * 1.3, radius * 0.8, under)
            for px, py, radius in puffs:
                shift = radius * 0.14
                canvas.ellipse(
                    px + view.sun * shift, py - shift, radius * 1.2, radius * 0.78, upper
                )

    def mountains(self) -> None:
        """One to three ridges, the farther the bluer."""
        dice = self.dice("mountain")
        if not self.there("mountain", dice) or "mountain" in self.removed:
            return
        canvas, view = self.canvas, self.view
        rock = dice.pick(((96, 104, 126), (112, 104, 106), (84, 106, 98), (104, 96, 124)))
        snow = dice.chance(0.35)
        ridges = dice.integer(1, 3)
        for k in range(ridges):
            haze = 0.5 - 0.3 * k / ridges
            high = dice.between(0.09, 0.26) * (1 - 0.25 * k)
            part = canvas.part("mountain", vary(dice, rock, 10), "rock", 0.22, haze=haze)
            shade = canvas.part("mountain", darker(rock, 0.7), "rock", 0.2, haze=haze)
            cap = canvas.part("mountain", (238, 242, 248), "rock", 0.1, haze=haze * 0.6)
            x = dice.between(-0.2, 0.05)
            foot = view.horizon + 0.02
            outline = [(-0.05, foot), (-0.05, foot - high * 0.35)]
            peaks = []
            while x < 1.05:
                peak = (x + dice.between(0.06, 0.16), foot - high * dice.between(0.6, 1.0))
                valley = (peak[0] + dice.between(0.08, 0.2), foot - high * dice.between(0.2, 0.5))
                outline += (peak, valley)
                peaks.append((peak, valley, outline[-3]))
                x = valley[0]
            outline += ((1.05, foot - high * 0.3), (1.05, foot))
            canvas.polygon(outline, part)
            for peak, right, left in peaks:
                lee = left if view.sun > 0 else right
                bottom = (peak[0] + (lee[0] - peak[0]) * 0.25, max(lee[1], peak[1] + high * 0.4))
                canvas.polygon((peak, lee, bottom), shade)
                if snow and k == 0 and peak[1] < foot - high * 0.72:
                    share = 0.32
                    a = (
                        peak[0] + (left[0] - peak[0]) * share,
                        peak[1] + (left[1] - peak[1]) * share,
                    )
                    b = (
                        peak[0] + (right[0] - peak[0]) * share,
                        peak[1] + (right[1] - peak[1]) * share,
                    )
                    notch = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 - 0.008)
                    canvas.polygon((peak, a, notch, b), cap)

    def tree_line(self) -> None:
        """A distant wood on the horizon."""
        dice = self.dice("wood")
        if not dice.chance(0.45) or "tree" in self.removed:
            return
        canvas, view = self.canvas, self.view
        green = vary(dice, dice.pick(((62, 92, 62), (78, 98, 58), (56, 84, 78))), 10)
        parts = [
            canvas.part("tree", green, "foliage", 0.3, shade=shade, haze=0.3)
            for shade in (0.8, 0.95, 1.08)
        ]
        left, right = dice.pick(((-0.02, 1.02), (-0.02, 1.02), (-0.02, 0.5), (0.5, 1.02)))
        x, high = left, dice.between(0.025, 0.055)
        foot = view.horizon + 0.015
        while x < right:
            radius = high * dice.between(0.6, 1.2)
            canvas.ellipse(x, foot - radius * 0.5, radius * 0.9, radius, dice.pick(parts))
            x += radius * 1.1
        canvas.rectangle(left, foot - high * 0.4, right, foot + 0.01, parts[0])

    # --- ground -----------------------------------------------------------------------------

    def ground(self) -> None:
        """Grass in bands that roll towards the viewer, with flowers."""
        dice, canvas, view = self.dice("grass"), self.canvas, self.view
        green = vary(
            dice,
            dice.pick(
                (
                    (104, 148, 64),
                    (88, 134, 66),
                    (122, 154, 74),
                    (142, 148, 78),
                    (76, 122, 58),
                    (164, 150, 88),
                )
            ),
            12,
        )
        bands = dice.integer(4, 6)
        horizon = view.horizon
        for k in range(bands):
            near = k / bands
            y = horizon + (1 - horizon) * near**1.5
            shade = 0.9 + 0.14 * near + dice.between(-0.05, 0.05)
            part = canvas.part(
                "grass",
                vary(dice, green, 5),
                "grass",
                0.12 + 0.14 * near,
                shade=shade,
                haze=max(0, 0.3 - near),
            )
            roll = 0.012 if k else 0.005
            left, middle, right = (y + dice.between(-roll, roll) for _ in range(3))
            canvas.polygon(
                ((-0.01, left), (0.25, (left + middle) / 2 - roll * 0.3), (0.5, middle),
                 (0.75, (middle + right) / 2 + roll * 0.3), (1.01, right), (1.01, 1.01),
                 (-0.01, 1.01)),
                part,
            )  # fmt: skip
        if dice.chance(0.3):
            bloom = canvas.part(
                "grass",
                dice.pick(((240, 236, 220), (236, 206, 70), (214, 96, 110), (160, 120, 200))),
            )
            for _ in range(dice.integer(12, 30)):
                x, y = (
                    dice.between(0, 1),
                    horizon + (1 - horizon) * (0.35 + 0.65 * dice.between(0, 1)),
                )
                size = 0.011 * (y - horizon) / (1 - horizon)
                canvas.ellipse(x, y, size, size * 0.8, bloom)

    def road(self) -> None:
        """A road across the picture, or one that leads away."""
        if not self.has_road or "road" in self.removed:
            return
        dice, canvas, view = self.dice("road"), self.canvas, self.view
        grey = vary(dice, dice.pick(((92, 92, 98), (110, 106, 104), (78, 80, 88))), 8)
        asphalt = canvas.part("road", grey, "asphalt", 0.14)
        kerb = canvas.part("road", darker(grey, 1.5), "grain", 0.1)
        line = canvas.part("road", (226, 220, 190))
        if self.road_across:
            top, bottom = self.road_top, self.road_bottom
            slope = dice.between(-0.015, 0.015)
            canvas.polygon(
                ((-0.01, top - slope), (1.01, top + slope), (1.01, bottom), (-0.01, bottom)), kerb
            )
            canvas.polygon(
                (
                    (-0.01, top + 0.012 - slope),
                    (1.01, top + 0.012 + slope),
                    (1.01, bottom),
                    (-0.01, bottom),
                ),
                asphalt,
            )
            middle = (top + bottom) / 2 + 0.01
            x = dice.between(-0.1, 0)
            while x < 1 and middle < 1:
                canvas.polygon(
                    (
                        (x, middle),
                        (x + 0.09, middle),
                        (x + 0.085, middle + 0.013),
                        (x - 0.005, middle + 0.013),
                    ),
                    line,
                )
                x += 0.17
            return
        end = (self.road_end, view.horizon + 0.012)
        half = 0.24
        for width, part in ((half * 1.12, kerb), (half, asphalt)):
            canvas.polygon(
                ((self.road_x - width, 1.01), (end[0] - 0.008, end[1]), (end[0] + 0.008, end[1]),
                 (self.road_x + width, 1.01)),
                part,
            )  # fmt: skip
        for share in (0.0, 0.3, 0.52, 0.68, 0.8, 0.88):
            a, b = share, share + 0.12 * (1 - share)
            points = []
            for at, side in ((a, -1), (a, 1), (b, 1), (b, -1)):
                wide = 0.013 * (1 - at)
                points.append(
                    (self.road_x + (end[0] - self.road_x) * at + side * wide, 1 + (end[1] - 1) * at)
                )
            canvas.polygon(points, line)

    def path(self) -> None:
        """From the door to the road, or to the viewer."""
        if not self.has_path or "path" in self.removed:
            return
        dice, canvas, plan = self.dice("path"), self.canvas, self.plan
        sand = vary(
            dice,
            dice.pick(((206, 186, 148), (186, 172, 152), (172, 150, 126), (198, 160, 132))),
            12,
        )
        cover = canvas.part("path", sand, dice.pick(("gravel", "gravel", "stone")), 0.16)
        edge = canvas.part("path", darker(sand, 0.78), "gravel", 0.16)
        end = self.road_top + 0.01 if self.has_road and self.road_across else 1.02
        grow = dice.between(1.4, 3.0)
        for extra, part in ((0.008, edge), (0.0, cover)):
            left, right = [], []
            for k in range(7):
                t = k / 6
                y = plan.base + (end - plan.base) * t
                x = (
                    plan.door_x
                    + (self.path_x - plan.door_x) * t * t
                    + self.path_bend * math.sin(math.pi * t)
                )
                half = plan.door_width * 0.55 * (1 + grow * (y - plan.base) / 0.3) + extra
                left.append((x - half, y))
                right.append((x + half, y))
            canvas.polygon(left + right[::-1], part)

    # --- scene objects -----------------------------------------------------------------------

    def church(self) -> None:
        """The church, in its place among the rest."""
        removed = Removed(*(name in self.removed for name in ("window", "door", "dome")))
        draw_church(self.canvas, self.view, self.dice("church"), self.plan, removed)

    def shadow(self, x: float, base: float, half: float, high: float) -> None:
        """The shadow of something upright: a dark foot and a streak away from the sun."""
        if self.view.mood.shadow > 0.8:
            self.canvas.shadow_ellipse(x, base, half * 1.1, half * 0.3)
            return
        reach = -self.view.sun * high * 0.55 * self.view.slant
        fall = high * 0.13
        self.canvas.shadow_polygon(
            (
                (x - half, base - half * 0.12),
                (x + half, base + half * 0.12),
                (x + reach + half * 0.8, base + fall),
                (x + reach - half * 0.8, base + fall),
            )
        )
        self.canvas.shadow_ellipse(x, base, half, half * 0.28)

    def beside_church(self, dice: Dice, margin: float) -> float:
        """An x in front of no church: to its left or right, where there is more room more often."""
        left, right = self.plan.left - margin, 1 - self.plan.right - margin
        at = dice.between(0, max(left, 0.04) + max(right, 0.04))
        return at if at < max(left, 0.04) else 1 - (at - max(left, 0.04))

    def trees(self) -> None:
        """Behind the church and beside it, now and then one close to the viewer."""
        if "tree" in self.removed:
            return
        count = self.dice("tree").integer(0, 5)
        for k in range(count):
            dice = self.dice("tree", k + 1)
            if dice.chance(0.45):
                base = self.view.horizon + dice.between(
                    0.025, max(0.03, self.plan.base - self.view.horizon)
                )
                x = dice.between(-0.02, 1.02)
                size = self.view.person(base) * dice.between(2.8, 5.0) + 0.1
            else:
                base = dice.between(self.plan.base + 0.01, 0.94)
                x = self.beside_church(dice, 0.03)
                size = min(self.view.person(base) * dice.between(2.4, 4.2) + 0.06, 0.62)
            self.shadow(x, base, size * 0.16, size * 0.8)
            self.put("tree", k + 1, scene_objects.tree, base, x, size)

    def put(
        self, name: str, number: int, draw: Callable[..., None], base: float, x: float, size: float
    ) -> None:
        """Add an object that draws from its own stream."""
        dice = self.dice(f"{name} drawn", number)
        self.add(base, functools.partial(draw, self.canvas, self.view, dice, x, base, size))

    def gravestones(self) -> None:
        """Rows of stones on one side of the church, or on both."""
        dice = self.dice("gravestone")
        if not self.there("gravestone", dice) or "gravestone" in self.removed:
            return
        rows = dice.integer(1, 3)
        left, right = dice.pick(((0.02, 0.4), (0.6, 0.98), (0.02, 0.98), (0.1, 0.6)))
        lowest = self.road_top - 0.02 if self.has_road and self.road_across else 0.96
        for row in range(rows):
            base = (
                self.plan.base
                + 0.05
                + (lowest - self.plan.base - 0.05) * (row + dice.between(0.2, 0.8)) / rows
            )
            size = self.view.person(base)
            pitch = size * dice.between(0.75, 1.1)
            x, number = left + dice.between(0, pitch), 0
            while x < right and number < 9:
                own = self.dice("gravestone", row * 10 + number + 1)
                y = base + own.between(-0.006, 0.006)
                if own.chance(0.82) and not self.on_path(x, y, size * 0.3):
                    self.shadow(x, y, size * 0.22, size * 0.6)
                    self.put(
                        "gravestone", row * 10 + number + 1, scene_objects.gravestone, y, x, size
                    )
                x += pitch * own.between(0.85, 1.2)
                number += 1

    def on_path(self, x: float, y: float, margin: float) -> bool:
        """Whether the path, removed or not, runs there."""
        if not self.has_path or y < self.plan.base:
            return False
        t = (y - self.plan.base) / (1.02 - self.plan.base)
        middle = self.plan.door_x + (self.path_x - self.plan.door_x) * t * t
        middle += self.path_bend * math.sin(math.pi * t)
        return abs(x - middle) < self.plan.door_width * (0.6 + 1.3 * t) + margin

    def fences(self) -> None:
        """One fence, between the church and the viewer."""
        dice = self.dice("fence")
        if not self.there("fence", dice) or "fence" in self.removed:
            return
        lowest = self.road_top - 0.01 if self.has_road and self.road_across else 0.98
        base = min(dice.between(self.plan.base + 0.05, self.plan.base + 0.26), lowest)
        gaps: tuple[tuple[float, float], ...] = ()
        if self.has_path and dice.chance(0.75):
            t = (base - self.plan.base) / (1.02 - self.plan.base)
            middle = self.plan.door_x + (self.path_x - self.plan.door_x) * t * t
            middle += self.path_bend * math.sin(math.pi * t)
            half = self.plan.door_width * (0.75 + 1.2 * t)
            gaps = ((middle - half, middle + half),)
        draw = functools.partial(
            scene_objects.fence,
            self.canvas,
            self.view,
            self.dice("fence drawn"),
            base,
            self.view.person(base),
            gaps,
        )
        self.add(base, draw)

    def lamps(self) -> None:
        """One to three lamp posts along the path or the road."""
        dice = self.dice("lamp")
        if not self.there("lamp", dice) or "lamp" in self.removed:
            return
        for k in range(dice.integer(1, 3)):
            own = self.dice("lamp", k + 1)
            base = own.between(self.plan.base + 0.06, 0.92)
            x = self.beside_church(own, 0.0) if own.chance(0.7) else own.between(0.05, 0.95)
            size = self.view.person(base)
            self.shadow(x, base, size * 0.12, size * 1.8)
            self.put("lamp", k + 1, scene_objects.lamp, base, x, size)

    def signboards(self) -> None:
        """One, sometimes two."""
        dice = self.dice("signboard")
        if not self.there("signboard", dice) or "signboard" in self.removed:
            return
        for k in range(1 + dice.chance(0.2)):
            own = self.dice("signboard", k + 1)
            base = own.between(self.plan.base + 0.07, 0.98)
            x = own.between(0.06, 0.94)
            size = self.view.person(base)
            self.shadow(x, base, size * 0.4, size)
            self.put("signboard", k + 1, scene_objects.signboard, base, x, size)

    def palms(self) -> None:
        """One or two palms."""
        dice = self.dice("palm")
        if not self.there("palm", dice) or "palm" in self.removed:
            return
        for k in range(dice.integer(1, 2)):
            own = self.dice("palm", k + 1)
            base = own.between(self.plan.base - 0.02, 0.93)
            x = self.beside_church(own, 0.0)
            size = min(max(self.view.person(base) * own.between(2.4, 3.8), 0.3), 0.62)
            self.shadow(x, base, size * 0.08, size * 0.8)
            self.put("palm", k + 1, scene_objects.palm, base, x, size)

    def single(self, name: str) -> None:
        """At most one flag, fountain or horse, near enough to be seen."""
        dice = self.dice(name)
        if not self.there(name, dice) or name in self.removed:
            return
        base = dice.between(max(self.plan.base + 0.1, 0.76), 0.96)
        x = dice.between(0.12, 0.88)
        size = max(self.view.person(base), 0.11)
        half = {"flag": 0.1, "fountain": 0.9, "horse": 0.5}[name]
        self.shadow(x, base, size * half, size)
        self.put(name, 1, getattr(scene_objects, name), base, x, size)

    def cars(self) -> None:
        """On the road where there is one, else parked on the grass."""
        dice = self.dice("car")
        if not self.there("car", dice) or "car" in self.removed:
            return
        if not self.has_road and dice.chance(0.3):
            return
        count = dice.pick((1, 1, 1, 2, 2, 3))
        for k in range(count):
            own = self.dice("car", k + 1)
            if self.has_road and self.road_across:
                lane = own.pick((0.34, 0.8))
                base = min(self.road_top + (self.road_bottom - self.road_top) * lane, 1.02)
                x = (k + own.between(0.1, 0.9)) / count
            elif self.has_road:
                base = own.between(self.view.horizon + 0.12, 1.0)
                at = (1 - base) / (1 - self.view.horizon)
                x = self.road_x + (self.road_end - self.road_x) * at + own.side() * 0.1 * (1 - at)
            else:
                base = own.between(self.plan.base + 0.06, 0.97)
                x = own.between(0.05, 0.95)
            size = self.view.person(base) * own.between(0.9, 1.1)
            self.canvas.shadow_ellipse(x, base, size * 1.15, size * 0.14)
            self.put("car", k + 1, scene_objects.car, base, x, size)

    def persons(self) -> None:
        """Alone, in twos and threes, or a small crowd; from far away to close by."""
        dice = self.dice("person")
        if not self.there("person", dice) or "person" in self.removed:
            return
        count = dice.pick((1, 1, 1, 2, 2, 2, 3, 3, 4, 6))
        together = dice.chance(0.4)
        x, base = dice.between(0.08, 0.92), dice.between(self.plan.base + 0.04, 1.04)
        for k in range(count):
            own = self.dice("person", k + 1)
            if not together:
                base = self.plan.base + 0.03 + (1.05 - self.plan.base) * own.between(0, 1) ** 1.3
                x = own.between(0.04, 0.96)
            size = max(self.view.person(base), 0.07)
            near = x + (k * 0.42 * size if together else 0)
            foot = base + (own.between(-0.006, 0.006) if together else 0)
            self.shadow(near, foot, size * 0.13, size * 0.9)
            self.put("person", k + 1, scene_objects.person, foot, near, size)

    def balloon(self) -> None:
        """A balloon in front of all else, high above the ground."""
        dice = _balloon_dice(self.world, self.index)
        if dice.chance(self.world.balloon):
            x, y = dice.between(0.1, 0.9), dice.between(0.12, 0.4)
            self.put("balloon", 1, scene_objects.balloon, _FOREMOST, x, y)

    # --- picture ----------------------------------------------------------------------------

    def finish(self) -> Scene:
        """Put the sky behind, the light over it, and the sensor's noise on top."""
        dice, view = self.dice("finish"), self.view
        developed, label_map = self.canvas.develop((dice.integer(0, 63), dice.integer(0, 63)))
        picture, coverage = developed[..., :3], developed[..., 3:]
        rows, columns = _grid(self.world.resolution)
        picture += self.sky(rows, columns) * (coverage / np.float32(255))
        tilt = np.float32(view.sun * 0.05 * view.mood.contrast)
        vignette = np.float32(dice.between(0, 0.16))
        light = 1 + tilt * (columns - 0.5) - vignette * ((columns - 0.5) ** 2 + (rows - 0.5) ** 2)
        exposure = np.float32(dice.between(0.92, 1.06))
        picture *= (light * exposure)[..., None]
        picture += self.noise(dice, picture.shape)
        np.clip(picture, 0, 255, out=picture)
        picture += np.float32(0.5)  # nearest
        quantised = np.ascontiguousarray(picture.astype(np.uint8).transpose(2, 0, 1))
        return Scene(quantised, label_map)

    def sky(self, rows: np.ndarray, columns: np.ndarray) -> Any:
        """From zenith to horizon, with a glow around the sun."""
        view = self.view
        zenith, horizon = np.array((view.zenith, view.haze), np.float32)
        share = np.clip(rows[:, :1] / np.float32(view.horizon), 0, 1)[..., None] ** np.float32(1.3)
        sky: np.ndarray = zenith + (horizon - zenith) * share
        if view.mood.name == "overcast":
            return sky
        away = (columns - np.float32(view.sun_x)) ** 2 + (rows - np.float32(view.sun_y)) ** 2
        glow = np.exp(away * np.float32(-14)) * np.float32(0.55) + (away < 0.0016)
        return sky + (np.array(view.mood.glow, np.float32) - sky) * np.minimum(glow, 1)[..., None]

    def noise(self, dice: Dice, shape: tuple[int, ...]) -> np.ndarray:
        """What the sensor adds: some grain of brightness, less of colour."""
        sigma = dice.between(2.0, 7.0)
        random = np.random.Generator(np.random.PCG64(mix_text(self.state, "noise")))
        grain = random.standard_normal(shape, dtype=np.float32)
        grain += random.standard_normal((*shape[:2], 1), dtype=np.float32)
        grain *= np.float32(sigma * 0.7)
        return grain


@functools.lru_cache(maxsize=2)
def _grid(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Y and x of pixel centres, 0 to 1."""
    centres = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    rows, columns = np.meshgrid(centres, centres, indexing="ij")
    return rows, columns


def parse_without(text: str) -> tuple[tuple[str, float], ...]:
    """`person,fence:0.5` → every person, and the fences of half the scenes.

    Raises:
        SpecError: a share that is no number. Names and ranges are checked by `World`.
    """
    wanted: dict[str, float] = {}
    for item in filter(None, text.split(",")):
        name, _, share = item.partition(":")
        try:
            wanted[name] = float(share) if share else 1.0
        except ValueError as error:
            raise SpecError(f"without={text!r}: {share!r} is no share; write person:0.5") from error
    return tuple(sorted(wanted.items()))
