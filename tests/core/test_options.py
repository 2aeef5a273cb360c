import dataclasses
import math
from typing import Annotated

import pytest

from unseen.core.errors import SampleError, SpecError
from unseen.core.options import Option, check_options, declared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    count: Annotated[int, Option("Images to take.", min=1)] = 2
    share: Annotated[float | None, Option("Share of the image.", max=1)] = None
    sizes: Annotated[tuple[int, ...], Option("Sizes to try.", min=1)] = (1, 2)
    quiet: Annotated[bool, Option("Say nothing.")] = False
    inner: object = None


def test_only_fields_with_a_declaration_are_options():
    assert list(declared(Task)) == ["count", "share", "sizes", "quiet"]
    kind, option = declared(Task)["count"]
    assert (kind, option.help) == (int, "Images to take.")


@pytest.mark.parametrize(
    "values",
    [
        {"count": 0},
        {"count": 2**31},
        {"share": math.nan},
        {"share": math.inf},
        {"share": 1.01},
        {"share": -0.01},
        {"sizes": (1, 0)},
    ],
)
def test_a_number_out_of_its_bounds_is_refused(values):
    with pytest.raises(SpecError, match=next(iter(values))):
        check_options(Task(**values))
    with pytest.raises(SampleError):
        check_options(Task(**values), SampleError)


def test_numbers_at_their_bounds_are_taken():
    check_options(Task(count=1, share=1.0, sizes=(1,)))
    check_options(Task(share=0.0))
