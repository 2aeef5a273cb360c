"""An image file without what it holds beside its pixels.

Pillow refuses a whole picture for a note that is too long (texts above 1 MiB, as of ComfyUI's
workflows), or damaged (a checksum, a profile). The pixels are then decoded from the parts of the
file that they need. Sources: PNG 3rd edition; JPEG, ITU T.81 annex B; WebP container, RFC 9649.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase

_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_WEBP_NOTES = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}  # chunk → its flag in VP8X
_JPEG_SCAN = 0xDA
_JPEG_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_JPEG_EXIF = 0xE1
_JPEG_NOTES = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # all but JFIF's and Adobe's, which say the colours


def without_metadata(file: BufferedIOBase, kind: str | None) -> Iterator[BufferedIOBase]:
    """The file with its EXIF block and no other note, then without that, too.

    Args:
        file: open for reading.
        kind: "PNG", "JPEG" or "WEBP"; of other formats nothing is left out.
    """
    strip: Callable[[BufferedIOBase, bool], bytes] | None = _STRIP.get(kind or "")
    for keep_exif in (True, False) if strip is not None else ():
        file.seek(0)
        try:
            assert strip is not None
            yield io.BytesIO(strip(file, keep_exif))
        except struct.error:  # the file ends within a header
            return


def _png(file: BufferedIOBase, keep_exif: bool) -> bytes:
    kept = [file.read(8)]
    while header := file.read(8):
        length, kind = struct.unpack(">I4s", header)
        if kind not in _PNG_PIXELS and not (kind == b"eXIf" and keep_exif):
            file.seek(length + 4, io.SEEK_CUR)
            continue
        body = file.read(length + 4)
        if kind != b"eXIf" or struct.pack(">I", zlib.crc32(kind + body[:-4])) == body[-4:]:
            kept += [header, body]
    return b"".join(kept)


def _jpeg(file: BufferedIOBase, keep_exif: bool) -> bytes:
    content = file.read()
    kept, position = [content[:2]], 2
    while position < len(content):
        marker = content[position + 1 : position + 2]
        if content[position : position + 1] != b"\xff" or not marker or marker[0] == _JPEG_SCAN:
            kept.append(content[position:])
            break
        if marker == b"\xff":  # filling
            position += 1
            continue
        length = 0
        if marker[0] not in _JPEG_ALONE:
            (length,) = struct.unpack_from(">H", content, position + 2)
        end = position + 2 + length
        if marker[0] not in _JPEG_NOTES or (marker[0] == _JPEG_EXIF and keep_exif):
            kept.append(content[position:end])
        position = end
    return b"".join(kept)


def _webp(file: BufferedIOBase, keep_exif: bool) -> bytes:
    file.seek(12)
    kept = []
    while header := file.read(8):
        kind, length = struct.unpack("<4sI", header)
        padded = length + length % 2
        if kind in _WEBP_NOTES and not (kind == b"EXIF" and keep_exif):
            file.seek(padded, io.SEEK_CUR)
            continue
        body = file.read(padded)
        if kind == b"VP8X" and body:
            noted = sum(_WEBP_NOTES.values()) - (_WEBP_NOTES[b"EXIF"] if keep_exif else 0)
            body = bytes([body[0] & ~noted]) + body[1:]
        kept += [header, body]
    content = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(content)) + content


_STRIP = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp}
