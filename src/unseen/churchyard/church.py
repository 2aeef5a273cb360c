"""The church: walls, tower, roofs, windows, door and dome."""

import dataclasses

from unseen.churchyard.canvas import Canvas, Colour
from unseen.churchyard.dice import Dice
from unseen.churchyard.view import View, darker, vary

_WALLS: tuple[tuple[Colour, str, float], ...] = (
    ((176, 92, 70), "brick", 0.2),
    ((150, 78, 62), "brick", 0.2),
    ((196, 132, 96), "brick", 0.18),
    ((178, 166, 142), "stone", 0.16),
    ((150, 146, 140), "stone", 0.18),
    ((206, 188, 150), "stone", 0.14),
    ((120, 118, 122), "stone", 0.2),
    ((236, 230, 216), "grain", 0.06),
    ((238, 214, 170), "grain", 0.06),
    ((226, 186, 168), "grain", 0.07),
    ((196, 212, 204), "grain", 0.07),
    ((232, 204, 128), "grain", 0.06),
    ((206, 206, 214), "grain", 0.06),
)
_ROOFS: tuple[Colour, ...] = (
    (164, 72, 48),
    (140, 56, 44),
    (186, 96, 58),
    (84, 86, 96),
    (66, 70, 82),
    (104, 78, 64),
    (92, 132, 116),
    (72, 50, 48),
)
_DOMES: tuple[Colour, ...] = ((212, 170, 70), (232, 190, 84), (96, 164, 148), (70, 110, 150))
_GLASS: tuple[Colour, ...] = ((44, 54, 76), (58, 74, 100), (36, 40, 52), (84, 108, 132))
_DOORS: tuple[Colour, ...] = ((94, 58, 34), (120, 44, 36), (58, 74, 60), (48, 58, 96), (74, 48, 36))


@dataclasses.dataclass(frozen=True)
class Removed:
    """Which parts of the church are left out."""

    window: bool = False
    door: bool = False
    dome: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where the church stands, decided before anything is drawn."""

    base: float  # y of its foot
    left: float
    right: float
    wall: float  # height of the walls
    side: int  # which side wall is seen: -1 or 1
    depth: float  # how far it recedes, as a share of the way to the vanishing point
    gabled: bool  # the gable faces the viewer; otherwise the long side does
    tower: str  # none, left, right, middle or both
    tower_width: float
    tower_height: float
    top: str  # spire, pyramid, flat, onion or dome
    dome: bool  # a dome over the crossing
    door_x: float
    door_width: float
    door_height: float


def draw_plan(dice: Dice, view: View) -> Plan:
    """Choose a church."""
    base = view.horizon + dice.between(0.06, 0.15)
    gabled = dice.chance(0.5)
    width = dice.between(0.2, 0.32) if gabled else dice.between(0.34, 0.56)
    centre = dice.between(0.32, 0.68)
    left, right = centre - width / 2, centre + width / 2
    person = view.person(base)
    wall = max(person * 2.2, dice.between(0.15, 0.25))
    side = -1 if centre > 0.5 else 1
    if dice.chance(0.25):
        side = -side
    tower = dice.pick(("none", "left", "right", "left", "right", "middle", "both"))
    if tower == "middle" and not gabled:
        tower = "left"
    tower_width = dice.between(0.1, 0.15) if tower != "both" else dice.between(0.08, 0.11)
    domed = dice.chance(0.16)
    top = (
        "onion" if domed and dice.chance(0.5) else dice.pick(("spire", "spire", "pyramid", "flat"))
    )
    door_width = max(person * 0.75, dice.between(0.05, 0.075))
    door_height = min(door_width * dice.between(1.5, 2.0), wall * 0.7)
    door_x = centre if gabled else centre + dice.between(-0.3, 0.3) * width
    if tower == "middle":
        door_width = min(door_width, tower_width * 0.6)
    return Plan(
        base=base,
        left=left,
        right=right,
        wall=wall,
        side=side,
        depth=dice.between(0.1, 0.25) if gabled else dice.between(0.04, 0.1),
        gabled=gabled,
        tower=tower,
        tower_width=tower_width,
        tower_height=wall * dice.between(1.5, 2.1) + 0.04,
        top=top if tower != "none" else "none",
        dome=domed and (top != "onion" or tower == "none"),
        door_x=door_x,
        door_width=door_width,
        door_height=door_height,
    )


class _Builder:
    """Materials and strokes of one church."""

    def __init__(
        self, canvas: Canvas, view: View, dice: Dice, plan: Plan, removed: Removed
    ) -> None:
        self.canvas, self.view, self.dice, self.plan, self.removed = (
            canvas,
            view,
            dice,
            plan,
            removed,
        )
        colour, texture, contrast = dice.pick(_WALLS)
        colour = vary(dice, colour)
        roof = vary(dice, dice.pick(_ROOFS), 12)
        haze = view.distance(plan.base) * 0.6
        face = view.face
        self.front = canvas.part("building", colour, texture, contrast, shade=face(0), haze=haze)
        self.flank = canvas.part(
            "building", colour, texture, contrast, shade=face(plan.side) * 0.94, haze=haze
        )
        self.eave = canvas.part(
            "building", darker(colour, 0.72), texture, contrast, shade=face(0), haze=haze
        )
        trim = vary(dice, dice.pick(((232, 226, 210), (206, 198, 180), darker(colour, 0.75))), 8)
        self.trim = canvas.part("building", trim, shade=face(0), haze=haze)
        self.plinth = canvas.part(
            "building", darker(colour, 0.62), "stone", 0.15, shade=face(0), haze=haze
        )
        self.roof = canvas.part("roof", roof, "tiles", 0.26, shade=face(0) * 1.04, haze=haze)
        self.roof_flank = canvas.part(
            "roof", roof, "tiles", 0.26, shade=face(plan.side) * 0.9, haze=haze
        )
        self.roof_ridge = canvas.part("roof", darker(roof, 0.66), shade=face(0), haze=haze)
        lit = view.mood.lamps and dice.chance(0.7)
        glass = vary(dice, (255, 206, 110) if lit else dice.pick(_GLASS), 12)
        self.glass = canvas.part("window", glass, haze=haze * 0.5, glows=lit)
        shine = (255, 236, 170) if lit else (150, 178, 204)
        self.shine = canvas.part("window", shine, haze=haze * 0.5, glows=lit)
        self.mullion = canvas.part("window", darker(glass, 0.6) if lit else (206, 204, 196))
        self.arched = dice.chance(0.6)

    # --- openings ---------------------------------------------------------------------------

    def window(self, x: float, y: float, width: float, height: float) -> None:
        """A window around x whose sill is at y, in its frame."""
        canvas = self.canvas
        half = width / 2
        frame = width * 0.24
        top = y - height
        if self.arched:
            canvas.half_ellipse(x, top + half, half + frame, half + frame, self.trim)
            canvas.rectangle(x - half - frame, top + half, x + half + frame, y + frame, self.trim)
        else:
            canvas.rectangle(x - half - frame, top - frame, x + half + frame, y + frame, self.trim)
        if self.removed.window:
            return
        if self.arched:
            canvas.half_ellipse(x, top + half, half, half, self.glass)
            canvas.rectangle(x - half, top + half - 0.002, x + half, y, self.glass)
        else:
            canvas.rectangle(x - half, top, x + half, y, self.glass)
        canvas.rectangle(x - half, top + half, x - half * 0.1, top + height * 0.55, self.shine)
        if width > 0.035:
            canvas.rectangle(x - 0.002, top + half * 0.4, x + 0.002, y, self.mullion)

    def slanted_window(self, x0: float, x1: float, y: float, height: float, slope: float) -> None:
        """A window in the receding wall."""
        if self.removed.window:
            return
        lift = (x1 - x0) * slope
        self.canvas.polygon(
            (
                (x0, y),
                (x1, y + lift),
                (x1, y + lift - height),
                ((x0 + x1) / 2, y - height - height * 0.18),
                (x0, y - height),
            ),
            self.glass,
        )

    def rose(self, x: float, y: float, radius: float) -> None:
        """A round window."""
        self.canvas.ellipse(x, y, radius * 1.28, radius * 1.28, self.trim)
        if self.removed.window:
            return
        self.canvas.ellipse(x, y, radius, radius, self.glass)
        self.canvas.ellipse(
            x - radius * 0.3, y - radius * 0.3, radius * 0.3, radius * 0.3, self.shine
        )
        self.canvas.line(((x - radius, y), (x + radius, y)), 0.004, self.mullion)
        self.canvas.line(((x, y - radius), (x, y + radius)), 0.004, self.mullion)

    def door(self) -> None:
        """The door, on its steps."""
        canvas, plan = self.canvas, self.plan
        x, base, half, height = plan.door_x, plan.base, plan.door_width / 2, plan.door_height
        wood = vary(self.dice, self.dice.pick(_DOORS), 10)
        leaf = canvas.part("door", wood, "planks", 0.3, shade=self.view.face(0))
        knob = canvas.part("door", (214, 180, 96))
        seam = canvas.part("door", darker(wood, 0.5))
        frame = half * 0.3
        steps = self.dice.chance(0.5)
        canvas.half_ellipse(x, base - height + half, half + frame, half + frame, self.trim)
        canvas.rectangle(x - half - frame, base - height + half, x + half + frame, base, self.trim)
        if not self.removed.door:
            canvas.half_ellipse(x, base - height + half, half, half, leaf)
            canvas.rectangle(x - half, base - height + half - 0.002, x + half, base, leaf)
            canvas.rectangle(x - 0.002, base - height + half * 0.5, x + 0.002, base, seam)
            canvas.ellipse(x + half * 0.45, base - height * 0.42, 0.004, 0.004, knob)
        if steps:
            canvas.rectangle(x - half * 1.6, base - 0.008, x + half * 1.6, base + 0.006, self.trim)
            canvas.rectangle(x - half * 1.9, base + 0.004, x + half * 1.9, base + 0.014, self.eave)

    # --- masses -----------------------------------------------------------------------------

    def recede(self, x: float, y: float, share: float) -> tuple[float, float]:
        """The point moved towards the vanishing point behind the church's visible side."""
        vanishing = self.vanishing
        return x + (vanishing - x) * share, y + (self.view.horizon - y) * share

    @property
    def vanishing(self) -> float:
        """X of the vanishing point of the side wall, well outside the church."""
        plan = self.plan
        corner = plan.right if plan.side > 0 else plan.left
        return corner + plan.side * 0.75

    def body(self) -> None:
        """Walls and roof of the nave."""
        canvas, plan, dice = self.canvas, self.plan, self.dice
        base, left, right, wall = plan.base, plan.left, plan.right, plan.wall
        top = base - wall
        near = right if plan.side > 0 else left
        far_base = self.recede(near, base, plan.depth)
        far_top = self.recede(near, top, plan.depth)
        canvas.polygon(((near, base), far_base, far_top, (near, top)), self.flank)
        if plan.gabled:
            rise = (right - left) * dice.between(0.42, 0.75)
            apex = ((left + right) / 2, top - rise)
            far_apex = self.recede(*apex, plan.depth)
            over = 0.012
            eave = (near + plan.side * over, top + over)
            far_eave = (far_top[0] + plan.side * over * 0.7, far_top[1] + over * 0.7)
            canvas.polygon((apex, far_apex, far_eave, eave), self.roof_flank)
            canvas.rectangle(left, top - 0.001, right, base, self.front)
            canvas.polygon(((left, top), apex, (right, top)), self.front)
            other = (left if plan.side > 0 else right) - plan.side * over
            canvas.line((apex, eave), 0.014, self.roof_ridge)
            canvas.line((apex, (other, top + over)), 0.014, self.roof_ridge)
            count = dice.integer(2, 3)
            slope = (far_top[1] - top) / (far_top[0] - near)
            for k in range(count):
                x = near + (far_top[0] - near) * (k + 0.35) / count
                wide = (far_top[0] - near) / count * 0.42
                y = top + wall * 0.62 + (x - near) * slope * 0.6
                self.slanted_window(x, x + wide, y, wall * 0.4, slope * 0.5)
            self.rose_or_pair(apex[0], top, rise)
        else:
            rise = dice.between(0.08, 0.17)
            inset = (right - left) * dice.between(0.02, 0.22)
            over = 0.014
            canvas.rectangle(left, top, right, base, self.front)
            canvas.rectangle(left, top, right, top + 0.014, self.eave)
            ridge_left, ridge_right = left + inset, right - inset
            if plan.side > 0:
                hip = (
                    (right + over, top),
                    (ridge_right, top - rise),
                    (far_top[0] + over, far_top[1]),
                )
            else:
                hip = (
                    (left - over, top),
                    (ridge_left, top - rise),
                    (far_top[0] - over, far_top[1]),
                )
            canvas.polygon(hip, self.roof_flank)
            canvas.polygon(
                (
                    (left - over, top),
                    (ridge_left, top - rise),
                    (ridge_right, top - rise),
                    (right + over, top),
                ),
                self.roof,
            )
            canvas.line(
                ((ridge_left, top - rise), (ridge_right, top - rise)), 0.009, self.roof_ridge
            )
            self.row_of_windows(left, right, top, wall)
        if dice.chance(0.6):
            canvas.rectangle(left, base - 0.014, right, base, self.plinth)

    def rose_or_pair(self, x: float, top: float, rise: float) -> None:
        """What the gable shows above the door."""
        plan, dice = self.plan, self.dice
        width = plan.right - plan.left
        self.rose(x, top - rise * 0.18, width * dice.between(0.1, 0.15))
        if dice.chance(0.75):
            for side in (-1, 1):
                self.window(
                    x + side * width * 0.31,
                    plan.base - plan.wall * 0.28,
                    width * 0.15,
                    plan.wall * 0.46,
                )

    def row_of_windows(self, left: float, right: float, top: float, wall: float) -> None:
        """One or two rows of windows, none where the door is."""
        plan, dice = self.plan, self.dice
        count = dice.integer(3, 6)
        rows = 2 if wall > 0.19 and dice.chance(0.6) else 1
        pitch = (right - left) / count
        width = min(pitch * dice.between(0.38, 0.52), 0.06)
        for row in range(rows):
            height = wall * (0.3 if rows == 2 else dice.between(0.38, 0.5))
            sill = top + wall * ((0.42, 0.85)[row] if rows == 2 else 0.72)
            for k in range(count):
                x = left + (k + 0.5) * pitch
                near_door = abs(x - plan.door_x) < plan.door_width * 0.5 + width * 0.9
                if near_door and sill > plan.base - plan.door_height * 1.12:
                    continue
                self.window(x, sill, width, height)

    def tower(self, x: float) -> None:
        """A tower around x, with openings and a top."""
        canvas, plan, dice = self.canvas, self.plan, self.dice
        base, half, height = plan.base + 0.002, plan.tower_width / 2, plan.tower_height
        top = base - height
        share = min(plan.depth * 0.55, 0.1)
        near = x + plan.side * half
        far_base, far_top = self.recede(near, base, share), self.recede(near, top, share)
        canvas.polygon(((near, base), far_base, far_top, (near, top)), self.flank)
        canvas.rectangle(x - half, top, x + half, base, self.front)
        for level in (0.34, 0.68):
            if dice.chance(0.6):
                y = top + height * level
                canvas.rectangle(x - half, y, x + half, y + 0.008, self.trim)
        self.window(x, top + height * 0.27, half * 0.6, height * 0.17)
        if plan.tower != "middle" or dice.chance(0.5):
            self.window(x, top + height * 0.6, half * 0.5, height * 0.14)
        left, right = x - half - 0.008, x + half + 0.008
        far_x, far_y = far_top[0] + plan.side * 0.006, far_top[1]
        if plan.top in ("spire", "pyramid"):
            tall = plan.tower_width * (
                dice.between(1.5, 2.5) if plan.top == "spire" else dice.between(0.6, 1.0)
            )
            apex = ((x * 2 + (far_x - near)) / 2, top - tall)
            canvas.polygon(((right, top), (left, top), apex), self.roof)
            edge = right if plan.side > 0 else left
            canvas.polygon(((edge, top), (far_x, far_y), apex), self.roof_flank)
            self.cross(apex[0], apex[1])
        elif plan.top == "flat":
            canvas.rectangle(left, top - 0.012, right, top + 0.006, self.trim)
            tooth = (right - left) / 7
            for k in (0, 2, 4, 6):
                canvas.rectangle(
                    left + k * tooth, top - 0.03, left + (k + 1) * tooth, top - 0.01, self.front
                )
        else:
            self.cupola(x, top, half + 0.01)

    def cupola(self, x: float, y: float, radius: float) -> None:
        """A dome on its drum, with a lantern."""
        canvas, dice = self.canvas, self.dice
        colour = vary(dice, dice.pick(_DOMES), 12)
        haze = self.view.distance(self.plan.base) * 0.6
        sun = self.view.sun
        shell = canvas.part("dome", colour, "ribs", 0.2, shade=self.view.face(0), haze=haze)
        lit = canvas.part(
            "dome", darker(colour, 1.22), "ribs", 0.12, shade=self.view.face(sun), haze=haze
        )
        dark = canvas.part("dome", darker(colour, 0.68), "ribs", 0.2, haze=haze)
        tall = radius * dice.between(1.0, 1.35)
        drum = radius * 0.3
        canvas.rectangle(x - radius * 0.94, y - drum, x + radius * 0.94, y + 0.004, self.trim)
        if not self.removed.dome:
            top = y - drum
            canvas.half_ellipse(x, top, radius, tall, dark)
            canvas.half_ellipse(x + sun * radius * 0.14, top, radius * 0.86, tall * 0.96, shell)
            canvas.half_ellipse(x + sun * radius * 0.42, top, radius * 0.42, tall * 0.8, lit)
            canvas.rectangle(
                x - radius * 0.14,
                top - tall - radius * 0.2,
                x + radius * 0.14,
                top - tall + 0.01,
                dark,
            )
            canvas.ellipse(x, top - tall - radius * 0.22, radius * 0.17, radius * 0.17, lit)

    def cross(self, x: float, y: float) -> None:
        """A cross on a spire."""
        self.canvas.rectangle(x - 0.004, y - 0.045, x + 0.004, y + 0.01, self.plinth)
        self.canvas.rectangle(x - 0.014, y - 0.034, x + 0.014, y - 0.026, self.plinth)


def draw_church(canvas: Canvas, view: View, dice: Dice, plan: Plan, removed: Removed) -> None:
    """Draw a planned church."""
    builder = _Builder(canvas, view, dice, plan, removed)
    half = plan.tower_width / 2
    beside = {
        "left": (plan.left + half * 0.6,),
        "right": (plan.right - half * 0.6,),
        "both": (plan.left + half * 0.4, plan.right - half * 0.4),
    }.get(plan.tower, ())
    if plan.dome:
        ridge = plan.base - plan.wall - (0.1 if plan.gabled else 0.06)
        builder.cupola(
            (plan.left + plan.right) / 2, ridge, min(0.13, (plan.right - plan.left) * 0.3)
        )
    builder.body()
    for x in beside:
        builder.tower(x)
    if plan.tower == "middle":
        builder.tower((plan.left + plan.right) / 2)
    builder.door()


def church_shadow(canvas: Canvas, view: View, plan: Plan) -> None:
    """What the church darkens on the ground."""
    cast = -view.sun * plan.wall * 0.5 * view.slant
    depth = plan.wall * 0.16
    left, right, base = plan.left, plan.right, plan.base
    near = right if plan.side > 0 else left
    back = near + plan.side * plan.depth * 0.75
    low, high = min(left, back), max(right, back)
    canvas.shadow_polygon(
        (
            (low, base - 0.02),
            (high, base - 0.02),
            (high + cast, base + depth),
            (low + cast, base + depth),
        )
    )
    canvas.shadow_polygon(((low, base), (high, base), (high, base + 0.012), (low, base + 0.012)))
