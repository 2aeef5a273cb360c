"""Reading checkpoints without running what is in them.

safetensors, or torch files through `weights_only=True`. A pickle that wants more is refused.
"""

import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseen.core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

_NESTS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # in torch's message: what the pickle asks for


def read_checkpoint(path: str | Path) -> "dict[str, torch.Tensor]":
    """The tensors of a checkpoint, on the CPU, by name.

    A state dict nested under `state_dict`, `model_state_dict` or `model` is taken out; numbers and
    texts beside the tensors are left out; a `module.` before every name is dropped.

    Raises:
        CheckpointError: missing, unreadable, without tensors, or a pickle that asks to run code.
    """
    path = Path(path)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; give a .safetensors or .pth file")
    with path.open("rb") as file:
        start = file.read(16)
    content = _read_safetensors(path) if _is_safetensors(start) else _read_torch(path, start)
    tensors = _tensors(content)
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors; a state dict is needed")
    if all(name.startswith("module.") for name in tensors):  # DataParallel's
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _is_safetensors(start: bytes) -> bool:
    """Eight bytes of length, then JSON: the format's own definition, whatever the suffix."""
    return len(start) > 8 and start[8:9] == b"{"


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(_unreadable(path, str(error))) from error


def _read_torch(path: Path, start: bytes) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol; it loads or it does not
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes raise nearly anything
        wanted = _asks_for(path, start, str(error))
        if wanted:
            raise CheckpointError(
                f"{path} asks to run code while loading ({wanted}) and was not loaded; where its "
                "origin is trusted, load it with torch yourself and save the state dict as "
                ".safetensors"
            ) from error
        raise CheckpointError(_unreadable(path, f"it begins with {start[:12]!r}")) from error


def _asks_for(path: Path, start: bytes, message: str) -> str | None:
    """The function or class that a refused file names, or None where it is merely broken."""
    if "TorchScript" in message:
        return "a TorchScript program"
    named = _GLOBAL.search(message)
    if named:
        return named[1].rstrip(".")
    if start[:1] != b"\x80":  # no pickle
        return None
    texts: list[str] = []
    try:
        with path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if operation.name == "STACK_GLOBAL":
                    return ".".join(texts[-2:])
                if isinstance(argument, str):
                    texts.append(argument)
    except (ValueError, EOFError, pickle.UnpicklingError):
        return None
    return None


def _unreadable(path: Path, why: str) -> str:
    return (
        f"{path} cannot be read as a checkpoint ({' '.join(why.split())}); it is truncated, or no "
        "safetensors or torch file: restore it"
    )


def _tensors(content: Any) -> "dict[str, torch.Tensor]":
    import torch

    if not isinstance(content, Mapping):
        return {}
    for nest in _NESTS:
        if isinstance(content.get(nest), Mapping):
            return _tensors(content[nest])
    return {
        name: value.detach()
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
