"""The verdicts, the gravest first: of a class in sets of images, and in single photographs."""

import typing
from typing import Literal

ClassVerdict = Literal["omitted", "under", "over", "undecided", "matched", "untested"]
Change = Literal["regressed", "improved", "undecided", "untested"]  # of a class, by a new generator
InstanceVerdict = Literal["cannot draw", "undecided", "can draw", "untested"]

CLASS_VERDICTS: tuple[ClassVerdict, ...] = typing.get_args(ClassVerdict)
INSTANCE_VERDICTS: tuple[InstanceVerdict, ...] = typing.get_args(InstanceVerdict)
CHANGES: tuple[Change, ...] = typing.get_args(Change)
