"""`python:MODULE:FACTORY`: a segmenter that the user wrote."""

from typing import Any

from unseen.core.errors import SegmenterError
from unseen.core.registry import Spec, call_user_factory
from unseen.segmenters.protocol import Precision


def load_python(spec: Spec, *, device: str, precision: Precision) -> Any:
    """Call `MODULE.FACTORY`, with `device` and `precision` and the spec's options if it takes them.

    Raises:
        SpecError: no such module or factory, or it does not take the options.
        SegmenterError: the module does not import, or asks for another precision than it has.
    """
    offered = {"device": device, "precision": precision}
    segmenter, taken = call_user_factory(spec, offered, what="segmenter", error=SegmenterError)
    if precision != "fp32" and "precision" not in taken:
        raise SegmenterError(
            f"{spec.text} takes no precision, and {precision} was asked for; leave it at fp32"
        )
    return segmenter
