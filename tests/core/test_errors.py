"""Out of memory is told apart from every other fault."""

import pytest
import torch

from unseen.core.errors import ImageError, OutOfMemoryError, memory_for


def caused(cause: Exception) -> Exception:
    error = ImageError("a guard around user code")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to"),
        caused(torch.OutOfMemoryError("CUDA out of memory")),
    ],
)
def test_the_option_to_lower_is_named(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemoryError, match="--batch-size"),
        memory_for("segmenting", "use a smaller --batch-size"),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ImageError("a"), KeyboardInterrupt()])
def test_other_faults_stay_what_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, memory_for("segmenting", "use a smaller"):
        raise error
    assert caught.value is error
