"""What reconstructions of photographs no longer have: pairs in, instances and verdicts out.

`measuring` segments both images of each pair, `judging` makes verdicts of what it measured, and
`record` is the file that holds them. `unseen.evidence` is this folder and the function of that name
at once: Python puts a folder that was imported in the function's place, so the folder is callable.
"""

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """The folder, callable as the function `unseen.evidence.measuring.evidence`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from unseen.evidence.measuring import evidence

        return evidence(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
