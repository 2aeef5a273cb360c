"""Where networks compute, by name, and on what machine."""

import os
import platform
import warnings
from pathlib import Path
from typing import Any

from unseen.core.errors import SpecError
from unseen.core.files import package_version


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


def warn_of_slow_bf16(device: str, precision: str) -> None:
    """Warn where bf16 would be computed without instructions for it.

    Args:
        device: where the network computes, resolved.
        precision: "fp32" or "bf16".
    """
    if precision != "bf16" or device != "cpu":
        return
    import torch

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        warnings.warn(
            "this processor has no instructions for bf16, which takes six to twelve times as long "
            "as fp32 there; ask for fp32",
            stacklevel=3,
        )


def gpu_count() -> int:
    """How many GPUs torch sees."""
    import torch

    return torch.cuda.device_count()


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else f"{os.cpu_count()} threads"


def machine(device: str) -> dict[str, Any]:
    """What the last bits of a network's arithmetic and of decoded images may depend on, as JSON.

    Args:
        device: where the network computes.
    """
    import numpy
    import PIL
    import torch

    return {
        "package_version": package_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": None if device == "cpu" else torch.cuda.get_device_name(device),
    }
