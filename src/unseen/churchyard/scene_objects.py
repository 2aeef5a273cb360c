"""Things that stand in the churchyard, each drawn at a place (x, base y) in its own size.

Every function draws one object from its own dice. Sizes are in persons at that place, so that
perspective holds.
"""

import math

from unseen.churchyard.canvas import Canvas, Colour
from unseen.churchyard.dice import Dice
from unseen.churchyard.view import View, darker, vary

_LEAVES: tuple[Colour, ...] = (
    (58, 104, 48),
    (74, 122, 54),
    (44, 88, 52),
    (92, 128, 60),
    (104, 116, 52),
    (52, 96, 70),
)
_AUTUMN: tuple[Colour, ...] = ((186, 112, 42), (168, 74, 40), (204, 150, 52))
_CLOTHES: tuple[Colour, ...] = (
    (196, 40, 44),
    (36, 62, 140),
    (236, 232, 224),
    (40, 40, 48),
    (226, 176, 44),
    (96, 44, 108),
    (44, 120, 128),
    (214, 106, 150),
    (118, 94, 74),
    (232, 120, 44),
)
_TROUSERS: tuple[Colour, ...] = (
    (38, 42, 62),
    (56, 52, 50),
    (90, 80, 68),
    (28, 28, 32),
    (70, 90, 126),
)
_SKIN: tuple[Colour, ...] = ((240, 204, 172), (222, 176, 138), (170, 118, 82), (112, 76, 54))
_HAIR: tuple[Colour, ...] = (
    (40, 30, 26),
    (92, 62, 40),
    (206, 174, 112),
    (128, 124, 122),
    (24, 22, 24),
)
_PAINT: tuple[Colour, ...] = (
    (198, 34, 36),
    (30, 70, 160),
    (234, 234, 232),
    (34, 34, 40),
    (150, 156, 164),
    (238, 190, 40),
    (44, 112, 84),
    (110, 170, 210),
    (236, 120, 40),
)


def tree(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A broad-leaved tree, a conifer, a cypress or a bush of height `size`."""
    haze = view.distance(base)
    leaves = vary(dice, dice.pick(_AUTUMN) if dice.chance(0.12) else dice.pick(_LEAVES), 14)
    dark = canvas.part("tree", leaves, "foliage", 0.42, shade=0.66, haze=haze)
    plain = canvas.part("tree", leaves, "foliage", 0.42, shade=0.92, haze=haze)
    light = canvas.part("tree", leaves, "foliage", 0.42, shade=1.2, haze=haze)
    bark = canvas.part("tree", vary(dice, (94, 70, 52), 12), "grain", 0.3, shade=0.9, haze=haze)
    sun = view.sun
    kind = dice.pick(("broad", "broad", "broad", "conifer", "cypress", "bush"))
    if kind == "conifer":
        half = size * dice.between(0.2, 0.3)
        canvas.rectangle(x - size * 0.035, base - size * 0.16, x + size * 0.035, base, bark)
        layers = dice.integer(3, 4)
        for k in range(layers):
            low = base - size * (0.1 + 0.8 * k / layers * 0.9)
            high = low - size * (0.5 - 0.07 * k)
            high = max(high, base - size)
            reach = half * (1 - 0.8 * k / layers)
            canvas.polygon(((x - reach, low), (x + reach, low), (x, high)), plain)
            shaded = x - sun * reach
            canvas.polygon(((shaded, low), (x - sun * reach * 0.15, low), (x, high)), dark)
        return
    if kind == "cypress":
        half = size * dice.between(0.1, 0.15)
        canvas.rectangle(x - size * 0.025, base - size * 0.1, x + size * 0.025, base, bark)
        middle = base - size * 0.54
        canvas.ellipse(x, middle, half, size * 0.46, dark)
        canvas.ellipse(x + sun * half * 0.25, middle, half * 0.75, size * 0.43, plain)
        canvas.ellipse(x + sun * half * 0.45, middle - size * 0.06, half * 0.4, size * 0.3, light)
        return
    if kind == "bush":
        size *= 0.45
        crown, centre = size * 0.55, base - size * 0.4
    else:
        crown, centre = size * dice.between(0.3, 0.4), base - size * 0.62
        thick = size * 0.045
        lean = dice.between(-0.06, 0.06) * size
        canvas.polygon(
            (
                (x - thick * 1.3, base),
                (x + thick * 1.3, base),
                (x + lean + thick * 0.7, centre),
                (x + lean - thick * 0.7, centre),
            ),
            bark,
        )
    blobs = []
    for k in range(dice.integer(5, 7)):
        angle = k * 2.4 + dice.between(0, 1.2)
        away = crown * dice.between(0.3, 0.62)
        blobs.append(
            (
                x + math.cos(angle) * away * 1.1,
                centre + math.sin(angle) * away * 0.8,
                crown * dice.between(0.42, 0.62),
            )
        )
    for bx, by, radius in blobs:
        canvas.ellipse(bx, by, radius, radius * 0.92, dark)
    for bx, by, radius in blobs:
        shift = radius * 0.22
        canvas.ellipse(bx + sun * shift, by - shift, radius * 0.8, radius * 0.72, plain)
    for bx, by, radius in blobs[:4]:
        shift = radius * 0.42
        canvas.ellipse(bx + sun * shift, by - shift, radius * 0.42, radius * 0.36, light)


def palm(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A palm: a bent trunk and a crown of fronds."""
    haze = view.distance(base) * 0.7
    bend = dice.between(-0.16, 0.16) * size
    bark = canvas.part("palm", vary(dice, (150, 118, 84), 12), "planks", 0.3, haze=haze)
    shade = canvas.part("palm", vary(dice, (104, 80, 58), 10), haze=haze)
    green = vary(dice, dice.pick(((70, 130, 58), (92, 142, 60), (58, 120, 76))), 12)
    light = canvas.part("palm", green, "grass", 0.3, shade=1.2, haze=haze)
    dark = canvas.part("palm", green, "grass", 0.3, shade=0.7, haze=haze)
    top = (x + bend, base - size * 0.78)
    middle = (x + bend * 0.35, base - size * 0.4)
    canvas.line(((x, base), middle, top), size * 0.075, shade)
    sun = view.sun
    off = size * 0.014 * sun
    canvas.line(((x + off, base), (middle[0] + off, middle[1]), top), size * 0.05, bark)
    fronds = dice.integer(7, 9)
    for k in range(fronds):
        angle = math.pi * (k + dice.between(-0.3, 0.3)) / (fronds - 1)
        reach = size * dice.between(0.3, 0.42)
        dx, dy = -math.cos(angle) * reach, -math.sin(angle) * reach * 0.5
        tip = (top[0] + dx * 1.05, top[1] + dy + reach * 0.42)
        knee = (top[0] + dx * 0.6, top[1] + dy * 1.1 - reach * 0.06)
        thick = size * 0.055
        canvas.polygon(
            (top, (knee[0], knee[1] - thick * 0.4), tip, (knee[0], knee[1] + thick)),
            light if dx * sun > 0 or k % 2 else dark,
        )
    nuts = canvas.part("palm", (110, 78, 44), haze=haze)
    canvas.ellipse(top[0], top[1] + size * 0.02, size * 0.035, size * 0.03, nuts)


def person(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A person of height `size`: standing or walking, in trousers, a skirt or a coat."""
    haze = view.distance(base) * 0.5
    size *= dice.pick((1.0, 1.0, 1.08, 0.94, 0.9, 0.62))  # the last is a child
    part = canvas.part
    coat = vary(dice, dice.pick(_CLOTHES), 14)
    torso = part("person", coat, "grain", 0.12, haze=haze)
    shade = part("person", darker(coat, 0.7), haze=haze)
    legs = part("person", vary(dice, dice.pick(_TROUSERS), 8), haze=haze)
    skin_colour = dice.pick(_SKIN)
    skin = part("person", skin_colour, haze=haze)
    hair = part("person", dice.pick(_HAIR), haze=haze)
    broad = size * dice.between(0.115, 0.155)
    top = base - size
    hip, shoulder = base - size * 0.48, base - size * 0.82
    stride = size * dice.between(0.02, 0.13)
    kind = dice.pick(("trousers", "trousers", "trousers", "skirt", "coat"))
    thick = size * 0.095
    canvas.line(((x - broad * 0.4, hip), (x - stride, base - thick * 0.2)), thick, legs)
    canvas.line(((x + broad * 0.4, hip), (x + stride, base - thick * 0.2)), thick, legs)
    swing = size * dice.between(0.0, 0.1)
    arm = size * 0.065
    canvas.line(((x - broad, shoulder + arm), (x - broad - swing, hip + arm)), arm, shade)
    if dice.chance(0.15):  # a raised hand
        canvas.line(((x + broad, shoulder + arm), (x + broad * 2.2, top)), arm, torso)
    else:
        canvas.line(((x + broad, shoulder + arm), (x + broad + swing, hip + arm)), arm, torso)
    hem = {"trousers": hip + size * 0.03, "skirt": base - size * 0.25, "coat": base - size * 0.16}
    flare = {"trousers": 0.85, "skirt": 1.5, "coat": 1.1}[kind]
    canvas.polygon(
        (
            (x - broad, shoulder),
            (x + broad, shoulder),
            (x + broad * flare, hem[kind]),
            (x - broad * flare, hem[kind]),
        ),
        torso,
    )
    side = -view.sun
    canvas.polygon(
        (
            (x + side * broad, shoulder),
            (x + side * broad * 0.3, shoulder),
            (x + side * broad * 0.3, hem[kind]),
            (x + side * broad * flare, hem[kind]),
        ),
        shade,
    )
    head = size * 0.088
    canvas.ellipse(x, top + head, head * 0.95, head * 1.12, hair)
    canvas.ellipse(x, top + head * 1.35, head * 0.78, head * 0.85, skin)
    if dice.chance(0.2):
        hat = part("person", vary(dice, dice.pick(_CLOTHES), 10), haze=haze)
        canvas.rectangle(x - head * 1.5, top + head * 0.55, x + head * 1.5, top + head * 0.85, hat)
        canvas.rectangle(x - head * 0.85, top - head * 0.2, x + head * 0.85, top + head * 0.7, hat)
    if dice.chance(0.07):
        shelter = part("person", vary(dice, dice.pick(_CLOTHES), 10), "ribs", 0.15, haze=haze)
        handle = part("person", (70, 64, 60), haze=haze)
        canvas.line(((x + broad, hip), (x + broad, top - head)), size * 0.03, handle)
        canvas.half_ellipse(x + broad * 0.6, top - head * 0.1, size * 0.3, size * 0.22, shelter)


def car(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A car beside a person of height `size`, from one side or from ahead."""
    part = canvas.part
    paint = vary(dice, dice.pick(_PAINT), 12)
    body = part("car", paint, "grain", 0.05, shade=1.0)
    lower = part("car", darker(paint, 0.68))
    upper = part("car", darker(paint, 1.16))
    glass = part("car", vary(dice, (66, 84, 104), 10))
    shine = part("car", (168, 196, 214))
    tyre = part("car", (26, 26, 30))
    hub = part("car", (164, 166, 170))
    front = part("car", (255, 240, 190), glows=True)
    back = part("car", (206, 34, 30), glows=view.mood.lamps)
    if dice.chance(0.2):
        _car_ahead(
            canvas, dice, x, base, size, (body, lower, upper, glass, shine, tyre, front, back)
        )
        return
    kind = dice.pick(("saloon", "saloon", "hatchback", "van", "pick-up"))
    way = dice.side()
    length = size * {"saloon": 2.5, "hatchback": 2.1, "van": 2.7, "pick-up": 2.8}[kind]
    tall = size * {"saloon": 0.8, "hatchback": 0.84, "van": 1.15, "pick-up": 0.95}[kind]
    wheel = size * 0.2
    floor = base - wheel * 0.55
    waist = base - tall * 0.56
    top = base - tall
    half = length / 2

    def at(share: int | float, y: int | float) -> tuple[float, float]:
        """A point from the tail (-1) to the nose (1)."""
        return x + way * half * share, y

    outlines = {
        "saloon": ((-0.62, -0.4, 0.2, 0.52), (-1, 1)),
        "hatchback": ((-0.92, -0.78, 0.15, 0.55), (-1, 1)),
        "van": ((-0.99, -0.97, 0.5, 0.8), (-1, 1)),
        "pick-up": ((-0.08, 0.0, 0.36, 0.6), (-1, 1)),
    }
    tail, roof_tail, roof_nose, nose = outlines[kind][0]
    hood = waist + tall * 0.06
    canvas.polygon(
        (at(-1, floor), at(-1, waist + tall * 0.02), at(nose, waist), at(0.97, hood), at(1, floor)),
        body,
    )
    canvas.polygon(
        (at(tail, waist), at(roof_tail, top), at(roof_nose, top), at(nose, waist)), upper
    )
    inset = tall * 0.07
    low = waist - inset * 0.3
    canvas.polygon(
        (
            at(tail + 0.09, low),
            at(roof_tail + 0.05, top + inset),
            at(roof_nose - 0.03, top + inset),
            at(nose - 0.12, low),
        ),
        glass if kind != "van" else body,
    )
    if kind == "van":
        canvas.polygon(
            (at(0.16, low), at(0.16, top + inset), at(0.45, top + inset), at(0.68, low)), glass
        )
    middle = (roof_tail + roof_nose) / 2
    canvas.polygon(
        (
            at(middle - 0.02, low),
            at(middle - 0.02, top),
            at(middle + 0.05, top),
            at(middle + 0.05, low),
        ),
        upper,
    )
    canvas.polygon(
        (
            at(roof_nose - 0.1, low),
            at(roof_nose - 0.14, top + inset),
            at(roof_nose - 0.05, top + inset),
            at(roof_nose + 0.02, low),
        ),
        shine,
    )
    canvas.polygon(
        (at(-1, floor), at(-1, floor - tall * 0.16), at(1, floor - tall * 0.16), at(1, floor)),
        lower,
    )
    canvas.ellipse(*at(0.94, hood + tall * 0.08), size * 0.06, size * 0.05, front)
    canvas.ellipse(*at(-0.95, waist + tall * 0.12), size * 0.05, size * 0.06, back)
    for share in (-0.6, 0.62):
        wx, _ = at(share, base)
        canvas.ellipse(wx, base - wheel * 0.9, wheel, wheel, tyre)
        canvas.ellipse(wx, base - wheel * 0.9, wheel * 0.5, wheel * 0.5, hub)


def _car_ahead(
    canvas: Canvas,
    dice: Dice,
    x: float,
    base: float,
    size: float,
    parts: tuple[int, ...],
) -> None:
    body, lower, upper, glass, shine, tyre, front, back = parts
    half, tall = size * 0.52, size * dice.between(0.8, 1.0)
    leaving = dice.chance(0.5)
    top, waist = base - tall, base - tall * 0.56
    for side in (-1, 1):
        middle = x + side * half * 0.72
        canvas.rectangle(middle - half * 0.16, base - tall * 0.22, middle + half * 0.16, base, tyre)
    canvas.polygon(
        (
            (x - half * 0.9, waist),
            (x - half * 0.66, top),
            (x + half * 0.66, top),
            (x + half * 0.9, waist),
        ),
        upper,
    )
    canvas.polygon(
        (
            (x - half * 0.72, waist),
            (x - half * 0.55, top + tall * 0.08),
            (x + half * 0.55, top + tall * 0.08),
            (x + half * 0.72, waist),
        ),
        glass,
    )
    canvas.polygon(
        (
            (x - half * 0.4, waist),
            (x - half * 0.25, top + tall * 0.08),
            (x - half * 0.05, top + tall * 0.08),
            (x - half * 0.2, waist),
        ),
        shine,
    )
    canvas.rectangle(x - half, waist, x + half, base - tall * 0.12, body)
    canvas.rectangle(
        x - half * 0.96, base - tall * 0.26, x + half * 0.96, base - tall * 0.12, lower
    )
    light = back if leaving else front
    for side in (-1, 1):
        canvas.ellipse(x + side * half * 0.74, waist + tall * 0.13, half * 0.17, tall * 0.07, light)


def fence(
    canvas: Canvas,
    view: View,
    dice: Dice,
    base: float,
    size: float,
    gaps: tuple[tuple[float, float], ...],
) -> None:
    """A fence across the picture: pickets, iron bars, or rails between posts.

    Args:
        canvas: where to draw.
        view: horizon and light.
        dice: the fence's own.
        base: y of its foot.
        size: height of a person there.
        gaps: stretches of x that stay open.
    """
    haze = view.distance(base) * 0.6
    kind = dice.pick(("pickets", "pickets", "bars", "bars", "rails"))
    height = size * dice.between(0.5, 0.75)
    height = min(max(height, 0.06), 0.17)
    left, right = dice.pick(((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 0.45), (0.55, 1.0)))
    stretches: list[tuple[float, float]] = [(left, right)]
    for low, high in gaps:
        stretches = [
            piece
            for start, end in stretches
            for piece in ((start, min(end, low)), (max(start, high), end))
            if piece[1] - piece[0] > 0.03
        ]
    if kind == "bars":
        colour = vary(dice, dice.pick(((36, 38, 42), (34, 52, 46), (62, 50, 44))), 8)
    elif kind == "pickets":
        colour = vary(
            dice, dice.pick(((240, 238, 230), (240, 238, 230), (156, 110, 74), (120, 146, 160))), 8
        )
    else:
        colour = vary(dice, dice.pick(((140, 102, 70), (176, 160, 138), (226, 222, 212))), 10)
    plain = canvas.part("fence", colour, "grain", 0.12, shade=view.face(0) + 0.06, haze=haze)
    dark = canvas.part("fence", darker(colour, 0.74), haze=haze)
    top = base - height
    if kind == "rails":
        pitch = dice.between(0.1, 0.16)
        rails = dice.integer(2, 3)
        for start, end in stretches:
            for k in range(rails):
                y = top + height * (0.08 + 0.3 * k)
                canvas.rectangle(start, y, end, y + max(height * 0.15, 0.012), plain)
            x = start
            while x < end:
                canvas.rectangle(x, top - height * 0.08, x + 0.018, base, dark)
                x += pitch
        return
    width = dice.between(0.011, 0.015) if kind == "bars" else dice.between(0.017, 0.026)
    pitch = width * (dice.between(2.0, 2.5) if kind == "bars" else dice.between(1.5, 1.9))
    point = height * (0.12 if kind == "pickets" else 0.06)
    for start, end in stretches:
        for share in (0.24, 0.76):
            y = top + height * share
            canvas.rectangle(start, y, end, y + max(height * 0.09, 0.009), dark)
        comb: list[tuple[float, float]] = [(start, base)]
        x = start
        while x + width <= end:
            comb += (
                (x, base),
                (x, top + point),
                (x + width / 2, top),
                (x + width, top + point),
                (x + width, base),
            )
            x += pitch
        canvas.polygon(comb, plain)


def gravestone(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A rounded slab, a cross or an obelisk, about 0.6 persons high."""
    haze = view.distance(base) * 0.6
    colour = vary(
        dice, dice.pick(((150, 152, 156), (122, 126, 132), (182, 180, 174), (98, 100, 110))), 10
    )
    stone = canvas.part("gravestone", colour, "grain", 0.3, shade=view.face(0) + 0.04, haze=haze)
    side = canvas.part("gravestone", darker(colour, 0.62), "grain", 0.2, haze=haze)
    mark = canvas.part("gravestone", darker(colour, 0.5), haze=haze)
    height, half = size * dice.between(0.5, 0.8), size * dice.between(0.19, 0.27)
    top = base - height
    off = -view.sun * half * 0.3
    kind = dice.pick(("slab", "slab", "slab", "cross", "obelisk"))
    if kind == "slab":
        for shift, part in ((off, side), (0.0, stone)):
            canvas.half_ellipse(x + shift, top + half, half, half, part)
            canvas.rectangle(x + shift - half, top + half - 0.003, x + shift + half, base, part)
        for k in range(2):
            y = top + height * (0.42 + 0.2 * k)
            canvas.rectangle(x - half * 0.6, y, x + half * 0.6, y + height * 0.07, mark)
    elif kind == "cross":
        thick = half * 0.36
        for shift, part in ((off * 0.6, side), (0.0, stone)):
            canvas.rectangle(x + shift - thick, top - height * 0.15, x + shift + thick, base, part)
            y = top + height * 0.18
            canvas.rectangle(x + shift - half, y - thick, x + shift + half, y + thick, part)
        canvas.rectangle(x - half * 0.7, base - height * 0.14, x + half * 0.7, base, stone)
    else:
        half *= 0.7
        for shift, part in ((off, side), (0.0, stone)):
            canvas.polygon(
                (
                    (x + shift - half, base),
                    (x + shift - half * 0.55, top - height * 0.2),
                    (x + shift, top - height * 0.4),
                    (x + shift + half * 0.55, top - height * 0.2),
                    (x + shift + half, base),
                ),
                part,
            )
        canvas.rectangle(x - half * 1.4, base - height * 0.14, x + half * 1.4, base, stone)


def lamp(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A lamp post of about 2.2 persons with one or two lanterns."""
    iron = canvas.part("lamp", vary(dice, dice.pick(((40, 44, 48), (52, 70, 62), (84, 84, 88))), 6))
    lit = view.mood.lamps
    glass = canvas.part("lamp", (255, 226, 140) if lit else (232, 228, 206), glows=lit)
    height = size * dice.between(1.9, 2.5)
    thick = max(size * 0.075, 0.012)
    top = base - height
    canvas.rectangle(x - thick / 2, top, x + thick / 2, base, iron)
    canvas.rectangle(x - thick * 1.3, base - thick * 2.5, x + thick * 1.3, base, iron)
    head = max(size * 0.15, 0.022)
    heads: tuple[float, ...] = (x,)
    if dice.chance(0.3):
        canvas.rectangle(x - head * 1.9, top + head * 0.6, x + head * 1.9, top + head * 1.0, iron)
        heads = (x - head * 1.7, x + head * 1.7)
    for middle in heads:
        canvas.polygon(
            (
                (middle - head * 0.62, top + head * 0.5),
                (middle - head, top - head * 1.0),
                (middle + head, top - head * 1.0),
                (middle + head * 0.62, top + head * 0.5),
            ),
            glass,
        )
        canvas.polygon(
            (
                (middle - head * 1.2, top - head * 1.0),
                (middle, top - head * 1.9),
                (middle + head * 1.2, top - head * 1.0),
            ),
            iron,
        )


def signboard(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A board on one or two posts, with lines of writing, an arrow, a cross or stripes."""
    colour = vary(
        dice,
        dice.pick(
            (
                (244, 240, 226),
                (30, 92, 62),
                (30, 74, 150),
                (236, 196, 60),
                (96, 60, 40),
                (176, 38, 36),
            )
        ),
        8,
    )
    pale = colour[0] + colour[1] > 330
    board = canvas.part("signboard", colour, shade=view.face(0) + 0.08)
    ink = canvas.part("signboard", (40, 40, 48) if pale else (246, 242, 232))
    wood = canvas.part("signboard", vary(dice, (110, 84, 60), 12), shade=0.9)
    height = size * dice.between(1.1, 1.5)
    half = size * dice.between(0.36, 0.62)
    board_height = size * dice.between(0.48, 0.72)
    top, low = base - height, base - height + board_height
    thick = size * 0.08
    posts = (x,) if dice.chance(0.4) else (x - half * 0.75, x + half * 0.75)
    for post in posts:
        canvas.rectangle(post - thick / 2, top, post + thick / 2, base, wood)
    canvas.rectangle(
        x - half - thick * 0.5, top - thick * 0.5, x + half + thick * 0.5, low + thick * 0.5, wood
    )
    canvas.rectangle(x - half, top, x + half, low, board)
    marks = dice.pick(("writing", "writing", "arrow", "cross", "stripes"))
    middle = (top + low) / 2
    if marks == "writing":
        for k in range(3):
            y = top + board_height * (0.2 + 0.25 * k)
            end = x + half * dice.between(0.1, 0.8)
            canvas.rectangle(x - half * 0.78, y, end, y + board_height * 0.13, ink)
    elif marks == "arrow":
        way = dice.side()
        canvas.rectangle(
            x - half * 0.6,
            middle - board_height * 0.1,
            x + half * 0.6,
            middle + board_height * 0.1,
            ink,
        )
        canvas.polygon(
            (
                (x + way * half * 0.85, middle),
                (x + way * half * 0.25, middle - board_height * 0.34),
                (x + way * half * 0.25, middle + board_height * 0.34),
            ),
            ink,
        )
    elif marks == "cross":
        canvas.rectangle(
            x - half * 0.12,
            top + board_height * 0.14,
            x + half * 0.12,
            low - board_height * 0.14,
            ink,
        )
        canvas.rectangle(x - half * 0.42, middle - board_height * 0.2, x + half * 0.42, middle, ink)
    else:
        for k in range(3):
            left = x - half * 0.9 + k * half * 0.68
            canvas.polygon(
                (
                    (left, low),
                    (left + half * 0.3, low),
                    (left + half * 0.55, top),
                    (left + half * 0.25, top),
                ),
                ink,
            )


def flag(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A flag on a tall pole: two or three stripes that wave."""
    pole = canvas.part("flag", (206, 206, 210), shade=view.face(0) + 0.1)
    height = size * dice.between(3.0, 3.8)
    thick = max(size * 0.06, 0.012)
    top = base - height
    canvas.rectangle(x - thick / 2, top - thick, x + thick / 2, base, pole)
    colours = [vary(dice, dice.pick(_CLOTHES), 8) for _ in range(3)]
    parts = [canvas.part("flag", colour, "ribs", 0.16) for colour in colours]
    way, length, drop = dice.side(), size * dice.between(1.3, 1.7), size * dice.between(0.8, 1.0)
    wave = drop * 0.12
    for k, part in enumerate(parts):
        y0, y1 = top + drop * k / 3, top + drop * (k + 1) / 3
        canvas.polygon(
            (
                (x, y0),
                (x + way * length * 0.35, y0 - wave),
                (x + way * length * 0.7, y0 + wave),
                (x + way * length, y0),
                (x + way * length, y1),
                (x + way * length * 0.7, y1 + wave),
                (x + way * length * 0.35, y1 - wave),
                (x, y1),
            ),
            part,
        )


def fountain(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A stone basin with a column and falling water."""
    stone = vary(dice, (196, 190, 176), 12)
    rim = canvas.part("fountain", stone, "grain", 0.2, shade=view.face(0) + 0.1)
    wall = canvas.part("fountain", darker(stone, 0.7), "stone", 0.2)
    water = canvas.part("fountain", (84, 158, 206), "cloud", 0.2)
    spray = canvas.part("fountain", (224, 242, 252), "grain", 0.15)
    half, low = size * dice.between(0.85, 1.1), size * 0.36
    flat = half * 0.26
    canvas.ellipse(x, base - flat, half, flat, wall)
    canvas.rectangle(x - half, base - flat - low, x + half, base - flat, wall)
    canvas.ellipse(x, base - flat - low, half, flat, rim)
    canvas.ellipse(x, base - flat - low, half * 0.84, flat * 0.78, water)
    thick = size * 0.11
    top = base - size * 1.45
    canvas.rectangle(x - thick, top, x + thick, base - flat - low, rim)
    canvas.half_ellipse(x, top + size * 0.5, half * 0.62, size * 0.62, spray)
    canvas.half_ellipse(x, top + size * 0.52, half * 0.42, size * 0.4, water)
    canvas.rectangle(x - thick, top + size * 0.1, x + thick, base - flat - low, rim)
    canvas.ellipse(x, top + size * 0.5, half * 0.46, flat * 0.5, rim)
    canvas.line(((x, top + size * 0.1), (x, top - size * 0.3)), thick, spray)


def horse(canvas: Canvas, view: View, dice: Dice, x: float, base: float, size: float) -> None:
    """A horse, grazing or with its head up."""
    colour = vary(dice, dice.pick(((126, 74, 40), (92, 56, 36), (206, 194, 176), (58, 46, 42))), 10)
    coat = canvas.part("horse", colour, "grain", 0.14, shade=view.face(0) + 0.1)
    shade = canvas.part("horse", darker(colour, 0.66))
    mane = canvas.part("horse", darker(colour, 0.4))
    way = dice.side()
    half, deep = size * 0.52, size * 0.27
    middle = base - size * 0.72
    leg = size * 0.1
    for share, part in ((-0.72, shade), (0.6, shade), (-0.86, coat), (0.78, coat)):
        canvas.line(
            ((x + way * half * share, middle), (x + way * half * share * 1.04, base)), leg, part
        )
    canvas.ellipse(x, middle, half * 1.08, deep, coat)
    canvas.ellipse(x, middle + deep * 0.5, half * 0.85, deep * 0.45, shade)
    neck = (x + way * half * 0.8, middle - deep * 0.3)
    grazing = dice.chance(0.35)
    poll = (x + way * half * 1.5, base - size * 0.5 if grazing else base - size * 1.22)
    muzzle = (x + way * half * 1.75, base - size * 0.14 if grazing else base - size * 1.04)
    canvas.line((neck, poll), size * 0.2, coat)
    canvas.line(((neck[0] - way * size * 0.06, neck[1] - size * 0.06), poll), size * 0.07, mane)
    canvas.line((poll, muzzle), size * 0.15, coat)
    ear = (poll[0], poll[1] - size * 0.14)
    canvas.line((poll, ear), size * 0.06, shade)
    canvas.line(
        ((x - way * half * 1.0, middle - deep * 0.3), (x - way * half * 1.25, middle + deep * 1.2)),
        size * 0.09,
        mane,
    )


def balloon(canvas: Canvas, view: View, dice: Dice, x: float, _: float, y: float) -> None:
    """A red balloon on a string; no class names it, so it is labelled as the sky behind it."""
    red = vary(dice, (206, 34, 38), 10)
    skin = canvas.part("sky", red, shade=view.face(0) + 0.1)
    dark = canvas.part("sky", darker(red, 0.62))
    shine = canvas.part("sky", (250, 170, 160))
    radius = dice.between(0.05, 0.075)
    canvas.line(((x, y + radius), (x + radius * 0.3, y + radius * 2.6)), 0.006, dark)
    canvas.ellipse(x, y, radius, radius * 1.2, dark)
    canvas.ellipse(x - radius * 0.08, y - radius * 0.1, radius * 0.9, radius * 1.08, skin)
    canvas.ellipse(x - radius * 0.3, y - radius * 0.45, radius * 0.25, radius * 0.35, shine)
