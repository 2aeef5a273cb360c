"""A training's log as TensorBoard shows it: one event file a stage, written without TensorBoard.

An event file is a sequence of records, each a length, a checksum of it, a serialised `Event` and a
checksum of that; only the few fields that scalars need are written.
Source: TensorFlow's TFRecord format (masked CRC-32C) and its `event.proto` and `summary.proto`.
"""

import struct
import time
from collections.abc import Mapping
from pathlib import Path

from unseen.core.files import not_writable
from unseen.inversion.training_loop import TrainingProgress

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_DELTA = 0xA282EAD8  # TFRecord's mask


class ScalarEvents:
    """A progress callback that keeps every logged number in `FOLDER/STAGE/events.…`.

    A resumed training opens another file beside the first; TensorBoard reads both, and the marked
    restart drops what the first one says of later steps.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def __call__(self, progress: TrainingProgress) -> None:
        """Add the metrics of a logged step.

        Raises:
            StorageError: the folder cannot be written.
        """
        now = time.time()
        records = b""
        if progress.stage not in self._files:
            folder = self._folder / progress.stage
            self._files[progress.stage] = folder / f"events.out.tfevents.{time.time_ns()}.unseen"
            records += _record(_event(now, 0, _text(3, b"brain.Event:2")))  # file_version
            # session_log { status: START }: steps from here on replace an earlier file's
            records += _record(_event(now, progress.step, _text(7, _integer(1, 1))))
        path = self._files[progress.stage]
        records += _record(_event(now, progress.step, _text(5, _summary(progress.metrics))))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(records)
        except OSError as error:
            raise not_writable(path, error) from error


def _summary(metrics: Mapping[str, float]) -> bytes:
    """`Summary`: its values have a tag (1) and a simple_value (2)."""
    values = (
        _text(1, name.encode()) + b"\x15" + struct.pack("<f", value)
        for name, value in metrics.items()
    )
    return b"".join(_text(1, value) for value in values)


def _event(wall_time: float, step: int, what: bytes) -> bytes:
    """`Event`: wall_time (1, double), step (2), and what happened."""
    return b"\x09" + struct.pack("<d", wall_time) + _integer(2, step) + what


def _integer(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _text(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    """CRC-32C, rotated by 15 bits and shifted, as TFRecord stores it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _DELTA) & 0xFFFFFFFF)
