"""Event files: what TensorBoard reads from them, by the format's own words."""

import struct
from pathlib import Path

import pytest

from unseen.core.errors import StorageError
from unseen.inversion.tensorboard import ScalarEvents, _checksum
from unseen.inversion.training_loop import TrainingProgress


def progress(step: int, **metrics: float) -> TrainingProgress:
    return TrainingProgress("joint", step, 300, (step, 300), 1.0, metrics)


def records(path: Path) -> list[bytes]:
    """The contents of a TFRecord file, whose checksums are taken as read."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert content[8:12] == _checksum(content[:8])
        found.append(content[12 : 12 + length])
        assert content[12 + length : 16 + length] == _checksum(found[-1])
        content = content[16 + length :]
    return found


def test_the_checksum_is_the_masked_crc_32c() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8a9136aa; TFRecord rotates it by 15 bits
    # and adds 0xa282ead8
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _checksum(bytes(32)) == struct.pack("<I", masked)


def test_every_logged_number_is_an_event(tmp_path: Path) -> None:
    events = ScalarEvents(tmp_path)
    events(progress(50, loss=0.5))
    events(progress(300, loss=0.25, x=1.0))
    (file,) = (tmp_path / "joint").iterdir()
    assert "tfevents" in file.name  # what TensorBoard looks for
    version, restart, first, second = records(file)
    # the bytes by protobuf's rules: 0x1a is field 3 (file_version), a text of 13 bytes
    assert version.endswith(b"\x1a\x0dbrain.Event:2")
    assert restart.endswith(b"\x10\x32\x3a\x02\x08\x01")  # step 50; session_log: status START
    assert first.endswith(b"\x10\x32\x2a\x0d\x0a\x0b\x0a\x04loss\x15" + struct.pack("<f", 0.5))
    assert b"\x10\xac\x02" in second  # 300 as a varint
    assert second.endswith(b"\x0a\x01x\x15" + struct.pack("<f", 1.0))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        ScalarEvents(tmp_path / "file")(progress(1, loss=0.0))
