"""The decoding worker process: reads indices from stdin, writes prepared images to stdout.

Started by `batches` as a plain Python process, so that neither the caller's main module nor its
threads nor torch come along. It ends when its input ends, hence also when the caller is killed.

Answers: `I` and the pixels; or `B` (broken image) or `F` (failure), a 4-byte length, and a text.
"""

import os
import pickle
import struct
import sys
import traceback
from typing import BinaryIO

from PIL import ImageFile

from unseen.core.errors import ImageError

REQUEST = struct.Struct("<q")  # the index of an image
LENGTH = struct.Struct("<I")
START = struct.Struct("<Q")  # length of the pickled source and preparation


def main() -> None:
    """Serve until the input ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a source prints is not an answer
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        _serve(requests, answers)
    except BrokenPipeError:
        os._exit(0)  # the caller is gone


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    (length,) = START.unpack(requests.read(START.size))
    try:
        source, preparation = pickle.loads(requests.read(length))
    except Exception:  # noqa: BLE001 reported to the caller, who raises
        _answer(answers, b"F", traceback.format_exc())
        return
    while request := requests.read(REQUEST.size):
        try:
            image = preparation.apply(source.read(*REQUEST.unpack(request)))
        except ImageError as error:
            _answer(answers, b"B", str(error))
        except Exception:  # noqa: BLE001 reported to the caller, who raises
            _answer(answers, b"F", traceback.format_exc())
        else:
            _write(answers, b"I")
            _write(answers, image.data.cast("B"))


def _answer(answers: BinaryIO, kind: bytes, text: str) -> None:
    encoded = text.encode("utf-8", "replace")
    _write(answers, kind + LENGTH.pack(len(encoded)) + encoded)


def _write(answers: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[answers.write(rest) :]
