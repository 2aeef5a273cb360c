"""Where networks compute, by name."""

from unseen.core.errors import SpecError


def resolve_device(device: str) -> str:
    """A device that exists: "cpu" or "cuda[:N]", "auto" resolved; cpu needs no torch.

    Raises:
        SpecError: no such device here.
    """
    if device == "cpu":
        return "cpu"
    if device != "auto" and device.partition(":")[0] != "cuda":
        raise SpecError(f"device {device!r} is not known; known: cpu, cuda, cuda:N, auto")
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    _, _, index = device.partition(":")
    count = torch.cuda.device_count()
    if count == 0:
        raise SpecError(
            f"device {device!r} was asked for, but torch sees no CUDA device; use cpu or auto"
        )
    if index and not (index.isdecimal() and int(index) < count):
        raise SpecError(f"device {device!r} was asked for; torch sees cuda:0 to cuda:{count - 1}")
    return device
