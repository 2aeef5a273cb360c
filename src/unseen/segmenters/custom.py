"""`python:MODULE:FACTORY`: a segmenter that the user wrote.

The module is looked for as Python does, and in the working directory first.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unseen.errors import SegmenterError, SpecError
from unseen.registry import Spec
from unseen.segmenters.protocol import Precision


def load_python(spec: Spec, *, device: str, precision: Precision) -> Any:
    """Call `MODULE.FACTORY`, with `device` and `precision` and the spec's options if it takes them.

    Raises:
        SpecError: no such module or factory, or it does not take the options.
        SegmenterError: the module does not import, or asks for another precision than it has.
    """
    argument = spec.require_argument("module:factory")
    module_name, _, attribute = argument.partition(":")
    if not module_name or not attribute:
        raise SpecError(f"{spec.text!r} names no factory; write python:MODULE:FACTORY")
    module = _import(spec, module_name)
    factory: Any = module
    for part in attribute.split("."):
        factory = getattr(factory, part, None)
    if not callable(factory):
        raise SpecError(
            f"{spec.text!r}: {module_name} has no function {attribute!r}; write "
            "python:MODULE:FACTORY, where FACTORY returns the segmenter"
        )
    given = {"device": device, "precision": precision, **spec.options}
    taken = _accepted(factory, given)
    for key in spec.options:
        if key not in taken:
            raise SpecError(
                f"{spec.text!r} has the option {key!r}, which {attribute} does not take"
            )
    if precision != "fp32" and "precision" not in taken:
        raise SegmenterError(
            f"{spec.text} takes no precision, and {precision} was asked for; leave it at fp32"
        )
    return factory(**taken)


def _import(spec: Spec, module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise SpecError(
                f"{spec.text!r}: no module {module_name!r}; run from the folder that holds it, "
                "or install it"
            ) from error
        raise SegmenterError(
            f"{spec.text}: {module_name} needs {error.name!r}, which is missing"
        ) from error


def _accepted(factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given keyword arguments that the factory takes."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # a built-in without a signature
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return given
    names = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    return {key: value for key, value in given.items() if key in names}
