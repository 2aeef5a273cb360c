"""The verdicts, the gravest first: of a class in sets of images, and in single photographs."""

import typing
from typing import Literal

ClassVerdict = Literal["omitted", "under", "over", "undecided", "matched", "untested"]
# How large a class is drawn where it is drawn.
SizeVerdict = Literal["smaller", "larger", "alike", "undecided"]
# How many things of a class an image holds, where it holds any.
CountVerdict = Literal["fewer", "more", "alike", "undecided"]
Change = Literal["regressed", "improved", "undecided", "untested"]  # of a class, by a new generator
InstanceVerdict = Literal["cannot draw", "undecided", "can draw", "untested"]
# What a class of photographs is compared with: matched controls, itself in the generator's own
# images, matched instances of the photographs' other classes, the same instances in a mosaic of
# other photographs.
Against = Literal["controls", "own", "peers", "reference"]

CLASS_VERDICTS: tuple[ClassVerdict, ...] = typing.get_args(ClassVerdict)
INSTANCE_VERDICTS: tuple[InstanceVerdict, ...] = typing.get_args(InstanceVerdict)
CHANGES: tuple[Change, ...] = typing.get_args(Change)
