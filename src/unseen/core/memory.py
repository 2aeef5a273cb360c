"""Where memory may run out: say which option to lower."""

import contextlib
from collections.abc import Iterator

from unseen.core.errors import OutOfMemoryError, is_out_of_memory


@contextlib.contextmanager
def memory_for(what: str, advice: str) -> Iterator[None]:
    """Say what to lower where memory runs out in the block.

    Args:
        what: is under way, e.g. "segmenting 16 images at once".
        advice: e.g. "use a smaller --batch-size".

    Raises:
        OutOfMemoryError: memory ran out in the block.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"memory ran out while {what}; {advice}") from error
