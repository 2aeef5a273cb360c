"""A transformers model's folder: where it is, what is read of it, and what is refused.

Code in a folder is never run, and the hub is never asked for what a folder lacks.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from unseen.core.errors import (
    CheckpointError,
    DownloadError,
    OutOfMemoryError,
    UnseenError,
    first_line,
    is_out_of_memory,
    missing_package,
)
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec

_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
TOKENIZER = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
)
# The first that is there is read, as transformers does; an index names the files of the weights.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_FROM_HUB = (["*.json", "*.txt", "model*.safetensors"], ["*.json", "*.txt", "pytorch_model*.bin"])
LOCAL = {"local_files_only": True, "trust_remote_code": False}
_OFFLINE = ("UNSEEN_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def model_folder(spec: Spec, name: str) -> Path:
    """The folder of a model: itself, or its files in the hub's own cache.

    Raises:
        MissingExtraError: transformers is not installed.
        DownloadError: the model is not here, and the hub does not give it.
        CheckpointError: the folder holds no model.
    """
    try:
        import transformers  # noqa: F401 - to say early that it is missing
    except ImportError as error:
        raise missing_package(f"{spec.name}:", "transformers") from error
    folder = Path(name)
    if not folder.is_dir():
        return _from_hub(spec, name)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder / 'config.json'} is missing; {spec.name}: needs a model's folder as "
            "save_pretrained writes it"
        )
    return folder


def _from_hub(spec: Spec, name: str) -> Path:
    """The model's files in the hub's own cache, downloaded if they are not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    asked = [name for name in _OFFLINE if os.environ.get(name, "0") not in ("", "0")]
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"{name} is no folder; {spec.name}: takes a folder or a hub name, OWNER/MODEL"
        )
    revision = spec.options.get("revision")
    try:
        for patterns in _FROM_HUB:
            folder = Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=patterns,
                    local_files_only=bool(asked),
                )
            )
            if any(folder.glob(patterns[-1])):
                break
    except HFValidationError as error:
        raise CheckpointError(
            f"{name!r} is no folder and no hub name; {spec.name}: takes a folder or OWNER/MODEL"
        ) from error
    except Exception as error:  # the hub's errors share no base class
        if asked:
            raise DownloadError(
                f"{name} is not in the hub's cache and downloads are switched off; give its "
                f"folder, or unset {asked[0]}"
            ) from error
        raise DownloadError(
            f"{name} cannot be fetched from the hub ({first_line(error)}); check the name and the "
            "connection, or give a folder"
        ) from error
    return folder


def model_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of the settings and weights that transformers reads in a model's folder.

    Raises:
        CheckpointError: a file is missing or unreadable, asks to run code, or is only an adapter.
    """
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(f"{folder} holds an adapter of another model; merge them and save it")
    for name in (*_SETTINGS, "tokenizer_config.json"):
        _refuse_code(folder / name)
    explicit = json.loads((folder / "config.json").read_bytes()).get("transformers_weights")
    candidates = _WEIGHTS if explicit is None else (str(explicit),)
    weights = next((name for name in candidates if (folder / name).is_file()), None)
    if weights is None:
        raise CheckpointError(f"{folder} holds no weights; needed is one of {', '.join(_WEIGHTS)}")
    names = {weights}
    if weights.endswith(".index.json"):
        names |= {*json.loads((folder / weights).read_bytes())["weight_map"].values()}
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise CheckpointError(f"{folder / weights} names {name!r}; weights lie in its folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; {weights} names it: copy it there")
    return hashes(folder, (*_SETTINGS, *sorted(names)))


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of those files that are there."""
    return {name: sha256_of_file(folder / name) for name in names if (folder / name).is_file()}


def _refuse_code(path: Path) -> None:
    """Refuse settings that name Python code of the model, or kernels that the hub would send."""
    waiting = [json.loads(path.read_bytes())] if path.is_file() else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kernel = value.get("_attn_implementation", value.get("attn_implementation"))
            key = "auto_map" if value.get("auto_map") else "attn_implementation"
            if value.get("auto_map") or "/" in str(kernel):
                raise CheckpointError(
                    f"{path} asks to run code that comes with the model ({key}); only models of "
                    "transformers itself are loaded: convert it to one, or remove the entry"
                )
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """The many errors of transformers about a folder's files, as one of ours."""
    try:
        yield
    except UnseenError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"{folder} does not fit into memory; use a smaller model ({first_line(error)})"
            ) from error
        raise CheckpointError(
            f"{folder} cannot be read as a transformers model ({first_line(error)}); it needs "
            "config.json, preprocessor_config.json and weights"
        ) from error


@contextmanager
def quiet_and_offline() -> Iterator[None]:
    """While a folder is read: no progress bar, and no request to the hub for what it lacks."""
    from huggingface_hub import constants
    from transformers.utils import logging

    bars, offline = logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        if bars:
            logging.enable_progress_bar()
