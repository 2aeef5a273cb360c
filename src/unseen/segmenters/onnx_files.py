"""The files that an ONNX graph keeps weights in, found in the graph without the onnx package.

A tensor anywhere in a model, also in subgraphs and functions, may say that its numbers lie in a
file beside the model ("external data"). Only what leads to those tensors is read of the protobuf.
Source: onnx.proto3 of ONNX (https://github.com/onnx/onnx), which numbers the fields.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from unseen.core.errors import CheckpointError
from unseen.core.files import sha256_of_file

# message → field → the message that stands there
_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_KEY, _VALUE = 1, 2  # fields of an entry of its external data
_EXTERNAL = 1  # the data location of a tensor whose numbers lie in a file
_FIXED = {1: 8, 5: 4}  # wire type → bytes


def model_files(model: Path) -> dict[str, str]:
    """The SHA-256 of a model's file and of every file that its tensors lie in.

    Returns:
        The path below the model's folder, with "/", to SHA-256.

    Raises:
        CheckpointError: the file is no ONNX model, a file is missing, or its path leads out of the
            model's folder.
    """
    try:
        locations = _locations(model)
    except (IndexError, ValueError) as error:
        raise CheckpointError(f"{model} is no ONNX model ({error}); export it again") from error
    files = {model.name: model}
    for location in locations:
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


def _locations(model: Path) -> list[str]:
    """Where the external tensors of a model say that they lie, sorted.

    Raises:
        ValueError, IndexError: the file is no protobuf.
    """
    locations = set()
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        waiting = [("model", 0, len(data))]
        while waiting:  # no recursion: a file may nest as deep as it likes
            message, start, end = waiting.pop()
            if message == "tensor":
                locations |= _locations_of_tensor(data, start, end)
                continue
            for field, value in _fields(data, start, end):
                if field in _FIELDS[message] and isinstance(value, range):
                    waiting.append((_FIELDS[message][field], value.start, value.stop))
    return sorted(locations)


def _locations_of_tensor(data: mmap.mmap, start: int, end: int) -> set[str]:
    external, locations = False, set[str]()
    for field, value in _fields(data, start, end):
        if field == _DATA_LOCATION:
            external = value == _EXTERNAL
        elif field == _EXTERNAL_DATA and isinstance(value, range):
            entry = {
                part: data[place.start : place.stop]
                for part, place in _fields(data, value.start, value.stop)
                if isinstance(place, range)
            }
            if entry.get(_KEY) == b"location":
                locations.add(entry.get(_VALUE, b"").decode())
    return locations if external else set()


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int | range]]:
    """The fields of a protobuf message: numbers, and the places of what has a length."""
    while start < end:
        tag, start = _varint(data, start, end)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, start = _varint(data, start, end)
            yield field, value
            continue
        if wire == 2:
            length, start = _varint(data, start, end)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if length > end - start:
            raise ValueError("a field is longer than its message")
        yield field, range(start, start + length)
        start += length


def _varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = 0
    for place in range(start, min(end, start + 10)):
        value |= (data[place] & 0x7F) << 7 * (place - start)
        if not data[place] & 0x80:
            return value, place + 1
    raise ValueError("a number is cut off")
