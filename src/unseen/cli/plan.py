"""`unseen plan POWER`: how many images a stated loss needs, before anything is drawn."""

from typing import Annotated

import typer

from unseen.cli import streams
from unseen.core.errors import SpecError
from unseen.core.options import Argument, Option
from unseen.core.wording import percent
from unseen.distribution.gate import LEVEL, NOT_SHOWN, Gate
from unseen.distribution.gate_history import level_of_run
from unseen.statistics.classes import smallest_detectable_drop
from unseen.statistics.planning import POWER, Condition, condition_power, images_needed

_PRESENCES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def plan(
    power: Annotated[
        str | None,
        Argument("What must show: 'presence>=1%,drop<=50%'. Not needed with --n."),
    ] = None,
    classes: Annotated[int, Option("Classes that are tested at once.", min=1)] = 1,
    n: Annotated[
        int | None, Option("Generated images: say what they can show.", short="-n", min=2)
    ] = None,
    real: Annotated[
        int | None,
        Option("Real images that there are. Default: as many as generated ones.", min=2),
    ] = None,
    fail_on: Annotated[
        Condition, Option("The verdict that is to be given: under (or omitted), or omitted.")
    ] = "under",
    run: Annotated[
        int | None,
        Option("Number of the run of a gate with --history, which has a stricter level.", min=1),
    ] = None,
) -> None:
    """Say how many images a stated loss of a class needs, or what --n images can show.

    Ends with status 4 where the images would not do, or no number of them would.
    """
    level = LEVEL if run is None else level_of_run(run)
    if power is None:
        if n is None:
            raise SpecError("name what must show, such as 'presence>=1%,drop<=50%', or --n")
        _table(n, real or n, classes, level)
        return
    gate = Gate.parse([fail_on], power)
    assert gate.power is not None
    presence, drop = gate.power.presence, gate.power.drop
    what = (
        f"a loss of {percent(drop)} of a class in {percent(presence)} of the real images, called "
        f"{fail_on} among {classes:,} classes"
    )
    if gate.out_of_reach:
        streams.write(f"No number of images shows {what}: {gate.out_of_reach}.")
        raise typer.Exit(NOT_SHOWN)
    if n is not None:
        found = float(
            condition_power(presence, drop, real or n, n, alpha=level / classes, condition=fail_on)[
                0
            ]
        )
        streams.write(
            f"{n:,} generated and {real or n:,} real images show {what}, in {percent(found)} of "
            f"such samples; {percent(POWER)} are needed."
        )
        if found < POWER:
            raise typer.Exit(NOT_SHOWN)
        return
    needed = images_needed(
        presence, drop, tests=classes, condition=fail_on, real=real, level=1.0 - level
    )
    if needed is None:
        streams.write(
            f"No number of images shows {what}."
            if real is None
            else f"With {real:,} real images no number of generated ones shows {what}."
        )
        raise typer.Exit(NOT_SHOWN)
    sides = "real and as many generated" if real is None else "generated"
    streams.write(f"{needed:,} {sides} images show {what}, in {percent(POWER)} of such samples.")


def _table(n: int, real: int, classes: int, level: float) -> None:
    """What so many images can show, from rare classes to common ones."""
    streams.write(
        f"{n:,} generated and {real:,} real images, {classes:,} classes, {percent(POWER)} power:"
    )
    for presence in _PRESENCES:
        least = smallest_detectable_drop(presence, real, n, tests=classes, level=1.0 - level)
        gone = condition_power(presence, 1.0, real, n, alpha=level / classes, condition="omitted")
        shown = "not even its absence shows" if least is None else f"a loss of {percent(least)}"
        omitted = "; its absence is called omitted" if gone[0] >= POWER else ""
        streams.write(f"  a class in {percent(presence):>6} of the real images: {shown}{omitted}")
