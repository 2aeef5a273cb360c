"""`python:MODULE:FACTORY`: a segmenter that the user wrote."""

from unseen.core.errors import SegmenterError
from unseen.core.registry import Spec, call_user_factory
from unseen.core.user_code import module_files, user_code
from unseen.segmenters.checks import check_segmenter
from unseen.segmenters.protocol import Precision, Segmenter


def load_python(spec: Spec, *, device: str, precision: Precision) -> Segmenter:
    """Call `MODULE.FACTORY`, with `device` and `precision` and the spec's options if it takes them.

    To the provenance that the segmenter gives itself are added: the spec, its options, and the
    SHA-256 of the module's source and of every module that it imports from its own folder.

    Raises:
        SpecError: no such module or factory, or it does not take the options.
        SegmenterError: the module or the factory raises, what it made is no segmenter, or it takes
            no precision where another than fp32 was asked for.
    """
    offered = {"device": device, "precision": precision}
    made, taken = call_user_factory(spec, offered, what="segmenter", error=SegmenterError)
    if precision != "fp32" and "precision" not in taken:
        raise SegmenterError(
            f"{spec.text} takes no precision, and {precision} was asked for; leave it at fp32"
        )
    segmenter = check_segmenter(made, spec.text)
    module_name = spec.require_argument("module:factory").partition(":")[0]
    provenance = {
        **segmenter.provenance,
        "spec": spec.text,
        "options": dict(spec.options),
        "module_sha256": module_files(module_name),
    }
    with user_code(f"{spec.text}: setting provenance", SegmenterError):
        object.__setattr__(segmenter, "provenance", provenance)
    return segmenter
