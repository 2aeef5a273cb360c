"""Options: what a task asks for, declared once beside its field.

    seed: Annotated[int, Option("Seed of the subset and of the permutations.")] = 0

The command line makes its options, their help and their bounds of these; `check_options` holds the
library to the same bounds. A field without a declaration is for the library alone.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from unseen.core.errors import SpecError

SEED_MOST = 2**32 - 1  # what NumPy's RandomState, the stream of latents, takes
_MOST = 2**31 - 1  # of any whole number without another bound


@dataclasses.dataclass(frozen=True)
class Option:
    """How one value of a task is named, bounded and explained.

    Attributes:
        help: a sentence, for the help page.
        min: the smallest number, itself allowed.
        max: the largest number, itself allowed.
        name: the spelling on the command line, where it is not the field's: `--class`.
        short: the short spelling: `-n`.
        metavar: what stands for the value on the help page, where it is not its type.
        repeated: whether the option is given once for every value of a list, as an argument always
            is. Values of other lists are separated by commas.
        greedy: of a repeated option, whether it takes every word up to the next option.
        parse: makes the value of the text, where the type does not tell how.
        shown: the default as the help page has it, where the value is not readable.
    """

    help: str
    min: int | float = 0
    max: int | float | None = None
    name: str | None = None
    short: str | None = None
    metavar: str | None = None
    repeated: bool = False
    greedy: bool = False
    parse: Callable[[str], Any] | None = None
    shown: str | None = None

    def fault(self, value: Any) -> str | None:
        """What is wrong with a number, or with one number of a list; None: nothing."""
        if isinstance(value, Collection) and not isinstance(value, str | bytes):
            faults = (self.fault(part) for part in value)
            return next((fault for fault in faults if fault is not None), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        most = self.max if self.max is not None else _MOST
        if math.isfinite(value) and self.min <= value <= most:
            return None
        upper = f" and at most {most:,.10g}" if self.max is not None or value > most else ""
        return f"{value} was given; at least {self.min:g}{upper} is needed"


class Argument(Option):
    """An option that is told by its position."""


class Place(Option):
    """Where results go: `-o/--out`, or the last position."""


@dataclasses.dataclass(frozen=True)
class Fields:
    """Marks a dict of values by field of a task, for a command that makes the task itself.

    Attributes:
        task: the dataclass.
        given: whether only what was given is in it, as the changes of a preset are.
    """

    task: type
    given: bool = False


def declared(task: type) -> dict[str, tuple[Any, Option]]:
    """Field → type and declaration, of the fields of a task that have one."""
    hints = get_type_hints(task, include_extras=True)
    names = [field.name for field in dataclasses.fields(task)]
    declarations = {name: declaration(hints[name]) for name in names}
    return {
        name: (kind, option) for name, (kind, option) in declarations.items() if option is not None
    }


def declaration(annotation: Any) -> tuple[Any, Option | None]:
    """The type, and the declaration that `Annotated` adds to it."""
    marks = getattr(annotation, "__metadata__", ())
    option = next((mark for mark in marks if isinstance(mark, Option)), None)
    return (annotation.__origin__ if marks else annotation), option


def check_options(task: Any, error: type[Exception] = SpecError) -> None:
    """Hold the values of a task to the bounds and the choices that its fields declare.

    Raises:
        SpecError: a number is not finite or out of bounds, or a text is none of the choices; or the
            `error` given.
    """
    for name, (kind, option) in declared(type(task)).items():
        value = getattr(task, name)
        fault = option.fault(value)
        if get_origin(kind) is Literal and value not in get_args(kind):
            fault = f"{value!r} was given; known: {', '.join(get_args(kind))}"
        if fault is not None:
            raise error(f"{name}: {fault}")


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"{text!r} is no part; write 2/4 for the second of four")
    return int(part), int(parts)


# Options that several tasks share.
Count = Annotated[
    int | None,
    Option(
        "Images to take: a seeded subset of a set, the first of a generator. Default: all.",
        short="-n",
        min=1,
    ),
]
Seed = Annotated[int, Option("Seed of the random subset of the images.", max=SEED_MOST)]
SampleSeed = Annotated[
    int, Option("Seed of the generator's stream of latents; the paper's is 1.", max=SEED_MOST)
]
Device = Annotated[
    str, Option("Where networks compute: cpu, cuda, cuda:N, or auto.", metavar="DEVICE")
]
Workers = Annotated[
    int | None, Option("Processes that decode images. Default: one for each core.", max=1024)
]
SkipBroken = Annotated[
    bool, Option("Leave out images that cannot be decoded, and list them in the record.")
]
Part = Annotated[
    tuple[int, int],
    Option(
        "Part of the work to do here: 2/4 is the second quarter. Parts share OUT, on whatever "
        "machines, and are joined at the end: areas by `unseen merge OUT`, inversions by the same "
        "command without --part.",
        metavar="PART/PARTS",
        parse=_part,
        shown="1/1",
    ),
]
Overwrite = Annotated[bool, Option("Replace what another run left in the same place.")]
KeepImages = Annotated[
    Path | None,
    Option(
        "Folder to keep what a generator draws, as `unseen sample` writes it. What is there "
        "already is not drawn again."
    ),
]
Labels = Annotated[
    Sequence[str] | None,
    Option(
        "What to call the sides in the record, on the page, in figures and here, the real one "
        'first: --labels "LSUN" "ProGAN". Default: what the sides were named by.',
        metavar="LABEL",
        repeated=True,
        greedy=True,
    ),
]
SingleFile = Annotated[
    bool,
    Option("Write the page as one file, too, with its pictures inside: to send."),
]


def check_part(part: tuple[int, int], error: type[Exception] = SpecError) -> None:
    """Hold a part to its bounds (SpecError, or the `error` given)."""
    number, parts = part
    if not 1 <= number <= parts:
        raise error(f"part {number}/{parts} was asked for; the first of 4 is 1/4")


def check_labels(labels: Sequence[str], sides: int) -> list[str]:
    """The labels of so many sides.

    Raises:
        SpecError: more or fewer labels than sides, a label without a letter, or the same one twice.

    >>> check_labels(["LSUN", "ProGAN"], 2)
    ['LSUN', 'ProGAN']
    """
    if len(labels) != sides:
        raise SpecError(
            f"--labels names {len(labels)}: {', '.join(labels)}; there are {sides} sides, name "
            "each, the real one first"
        )
    for label in labels:
        if not label.strip() or list(labels).count(label) > 1:
            raise SpecError(f"--labels names a side {label!r}; give each a name of its own")
    return list(labels)
