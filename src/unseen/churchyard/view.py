"""What all objects of one scene share: horizon, camera, time of day."""

import dataclasses

from unseen.churchyard.canvas import Colour
from unseen.churchyard.dice import Dice


@dataclasses.dataclass(frozen=True)
class Mood:
    """A time of day and its weather."""

    name: str
    zenith: tuple[Colour, ...]  # the sky above, one of them
    horizon: tuple[Colour, ...]  # the sky below, one of them
    light: Colour  # factor on all colours
    shadow: float  # light left where a shadow falls; 1: no shadows
    contrast: float  # between lit and unlit faces
    glow: Colour  # around the sun
    lamps: bool  # lit windows and lamps
    cloudy: float  # probability of clouds
    weight: float  # how often


MOODS = (
    Mood(
        "noon",
        ((46, 108, 196), (70, 140, 214), (30, 88, 168), (84, 158, 210)),
        ((188, 216, 236), (206, 226, 238), (166, 206, 236)),
        (1.0, 0.99, 0.96),
        0.58,
        1.0,
        (255, 252, 230),
        False,
        0.75,
        0.36,
    ),
    Mood(
        "morning",
        ((104, 150, 206), (128, 160, 204), (92, 132, 186)),
        ((246, 226, 204), (240, 214, 206), (236, 232, 214)),
        (1.0, 0.95, 0.87),
        0.64,
        1.0,
        (255, 236, 196),
        False,
        0.6,
        0.2,
    ),
    Mood(
        "golden hour",
        ((82, 96, 160), (100, 104, 152), (62, 94, 158)),
        ((255, 188, 118), (250, 168, 124), (252, 206, 140)),
        (1.0, 0.83, 0.64),
        0.56,
        1.15,
        (255, 214, 140),
        False,
        0.65,
        0.17,
    ),
    Mood(
        "overcast",
        ((150, 160, 170), (134, 146, 158), (168, 174, 178)),
        ((206, 210, 212), (192, 200, 206), (216, 214, 208)),
        (0.86, 0.88, 0.9),
        0.86,
        0.5,
        (230, 232, 232),
        False,
        0.5,
        0.17,
    ),
    Mood(
        "dusk",
        ((34, 40, 92), (48, 44, 98), (26, 48, 100)),
        ((206, 128, 128), (170, 120, 150), (226, 150, 110)),
        (0.64, 0.6, 0.74),
        0.74,
        0.7,
        (255, 170, 120),
        True,
        0.55,
        0.1,
    ),
)


@dataclasses.dataclass(frozen=True)
class View:
    """Horizon and camera: where a thing stands decides how large it is."""

    mood: Mood
    horizon: float  # its y
    camera: float  # height of the eye, in persons
    sun: int  # -1: from the left, 1: from the right
    sun_x: float
    sun_y: float
    zenith: Colour
    haze: Colour  # colour of the horizon, and of distance
    slant: float  # how long shadows are

    def person(self, y: int | float) -> float:
        """Height of a grown person who stands at y."""
        return (y - self.horizon) / self.camera

    def distance(self, y: float) -> float:
        """Haze at a base y: about 0.3 near the horizon, 0 in the foreground."""
        depth = (y - self.horizon) / (1 - self.horizon)
        return max(0.0, 0.3 - 1.1 * depth)

    def face(self, direction: int | float) -> float:
        """Light on a wall that faces left (-1), the viewer (0) or right (1)."""
        toward = direction * self.sun
        return 1 + self.mood.contrast * (0.16 * toward - 0.1)


def draw_view(dice: Dice) -> View:
    """Choose time of day, horizon and camera."""
    at = dice.between(0, sum(mood.weight for mood in MOODS))
    mood = MOODS[-1]
    for candidate in MOODS:
        at -= candidate.weight
        if at < 0:
            mood = candidate
            break
    sun = dice.side()
    return View(
        mood=mood,
        horizon=dice.between(0.5, 0.64),
        camera=dice.between(1.5, 2.9),
        sun=sun,
        sun_x=0.5 + sun * dice.between(0.15, 0.6),
        sun_y=dice.between(0.05, 0.25) if mood.name == "noon" else dice.between(0.15, 0.5),
        zenith=dice.pick(mood.zenith),
        haze=dice.pick(mood.horizon),
        slant=dice.between(0.35, 1.0) if mood.name == "noon" else dice.between(0.7, 1.5),
    )


def vary(dice: Dice, colour: Colour, amount: int | float = 18) -> Colour:
    """The colour, a little brighter or darker and a little off in hue."""
    bright = dice.between(-amount, amount)
    return (
        colour[0] + bright + dice.between(-amount, amount) * 0.4,
        colour[1] + bright + dice.between(-amount, amount) * 0.4,
        colour[2] + bright + dice.between(-amount, amount) * 0.4,
    )


def darker(colour: Colour, factor: int | float) -> Colour:
    """The colour times a factor."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
