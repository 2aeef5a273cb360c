"""The files that an ONNX graph keeps weights in.

A tensor anywhere in a model, also in subgraphs and functions, may say that its numbers lie in a
file beside the model ("external data").
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from unseen.core.errors import CheckpointError, first_line, missing_package
from unseen.core.files import sha256_of_file


def model_files(model: Path) -> dict[str, str]:
    """The SHA-256 of a model's file and of every file that its tensors lie in.

    Returns:
        The path below the model's folder, with "/", to SHA-256.

    Raises:
        CheckpointError: the file is no ONNX model, a file is missing, or its path leads out of the
            model's folder.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_package("onnx:", "onnx") from error
    try:
        graph = onnx.load_model(model, load_external_data=False)
    except Exception as error:  # protobuf's own
        raise CheckpointError(
            f"{model} is no ONNX model ({first_line(error)}); export it again"
        ) from error
    files = {model.name: model}
    for location in _locations(graph, onnx.TensorProto):
        path = PurePosixPath(location)
        leaves = path.is_absolute() or ".." in path.parts or "\0" in location
        if leaves or "\\" in location or PureWindowsPath(location).drive or not path.parts:
            raise CheckpointError(
                f"{model} keeps weights in {location!r}; needed is a path inside its own folder"
            )
        if not (model.parent / path).is_file():
            raise CheckpointError(
                f"{model.parent / path} is missing; {model.name} keeps weights in it: copy it there"
            )
        files[path.as_posix()] = model.parent / path
    return {name: sha256_of_file(files[name]) for name in sorted(files)}


def _locations(model: Any, tensor: Any) -> Iterator[str]:
    """Where the external tensors of a model say that they lie.

    Args:
        model: a message of protobuf; all that it holds is looked through.
        tensor: the class of the messages that are tensors.
    """
    waiting = [model]
    while waiting:
        message = waiting.pop()
        if not isinstance(message, tensor):
            for _, value in message.ListFields():
                held = [value] if hasattr(value, "ListFields") else value
                if hasattr(held, "add") or held is not value:  # messages, not numbers or texts
                    waiting += held
        elif message.data_location == message.EXTERNAL:
            yield from (entry.value for entry in message.external_data if entry.key == "location")
