"""From the bytes of an image file to 8-bit RGB: the conversion rule, in one place.

- grey and 1-bit: the value three times; palette: its colours;
- alpha (also a palette's or a key colour's): composed over white, as a page shows it. What lies
  under transparent pixels is arbitrary (often black), and the plain conversion would reveal it;
- CMYK and YCbCr: Pillow's formula; embedded colour profiles are not applied;
- 16-bit grey: divided by 257 and rounded, so that 65535 becomes 255 (Pillow alone would clip);
  16-bit colour: its high byte, at most one level away from that;
- rotated or mirrored by EXIF: turned upright;
- several frames: the first.

Refused: floating-point and 32-bit pixels (their range is unknown), more than 64 megapixels
(told by the header, before anything is decoded), truncated and undecodable files. What a file
holds beside its pixels (texts, colour profiles, EXIF) never costs the picture: see `metadata`.

Where simplejpeg is installed it decodes JPEG, in two thirds of the time. Its library is Pillow's
(libjpeg-turbo) with the same transform and upsampling, so the bytes are the same. Whatever it has
doubts about goes to Pillow.
"""

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageFile, UnidentifiedImageError

from unseen.core.errors import ImageError, OutOfMemoryError, UnseenError, is_out_of_memory
from unseen.core.files import open_regular
from unseen.core.wording import printable
from unseen.images.metadata import without_metadata

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
EXTENSIONS_IN_WORDS = ".png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff"
MEGAPIXELS = 64  # above the largest 35 mm camera; as RGB 192 MB
SIGNATURE_BYTES = 18  # that `image_format` looks at

_turbo: Any = (
    importlib.import_module("simplejpeg") if importlib.util.find_spec("simplejpeg") else None
)

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # no format whose decoder starts a program
_FORMATS_IN_WORDS = "PNG, JPEG, WebP, BMP or TIFF"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes; the versions of the format
_ORIENTATION_TAG = 0x0112  # EXIF 2.3, table 4
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def image_format(start: bytes) -> str | None:
    """The format of an image file by its first `SIGNATURE_BYTES`; None for anything else."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WEBP"
    if start.startswith(_TIFF):
        return "TIFF"
    # Two letters are little: the header's size, which follows the file's, has few values.
    if start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None


def decode_file(path: Path, name: str | None = None) -> UInt8[np.ndarray, "3 h w"]:
    """Decode a file; see `decode`. It must be a regular one: a pipe may never end."""
    name = printable(name or str(path))
    try:
        with open_regular(path) as file:
            return decode(file, name)
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror or error})") from error


def decode(file: BufferedIOBase, name: str) -> UInt8[np.ndarray, "3 h w"]:
    """Decode one image file to 8-bit RGB by this module's rule.

    Args:
        file: open for reading, at its beginning.
        name: for the error message.

    Returns:
        The pixels, in the file's own resolution; a view, not necessarily contiguous.

    Raises:
        ImageError: truncated, undecodable, too large, or of a kind that has no 8-bit meaning.
        OutOfMemoryError: memory ran out; the image may well be whole.
    """
    name = printable(name)
    start = file.read(SIGNATURE_BYTES)
    file.seek(0)
    if not start:
        raise ImageError(f"{name} is empty (0 bytes); restore it or remove it")
    try:
        return _decode_once(file, name)
    except UnseenError:
        raise
    except MemoryError as error:
        raise out_of_memory(name) from error
    except Exception as error:  # noqa: BLE001 decoders raise nearly anything on broken bytes
        fault = error
    for pixels_alone in without_metadata(file, image_format(start)):
        try:
            return _decode_once(pixels_alone, name)
        except UnseenError:
            raise
        except Exception:  # noqa: BLE001 what was wrong with the whole file is said below
            continue
    raise _undecodable(name, start, fault) from fault


def _decode_once(file: BufferedIOBase, name: str) -> UInt8[np.ndarray, "3 h w"]:
    with _strict_and_silent():
        image = Image.open(file, formats=_FORMATS)  # type: ignore[arg-type]  # a BytesIO too
        check_size(*image.size, name)
        if _turbo is not None and image.format == "JPEG" and image.mode in ("RGB", "L"):
            file.seek(0)
            with contextlib.suppress(ValueError):  # of anything unusual: then Pillow decides
                pixels: np.ndarray = _turbo.decode_jpeg(file.read(), "RGB")
                return _upright(pixels, _orientation(image))
        return rgb_array(image, name)


def as_picture(image: UInt8[np.ndarray, "3 h w"]) -> Image.Image:
    """An image as Pillow has it.

    >>> as_picture(np.zeros((3, 4, 6), np.uint8)).size
    (6, 4)
    """
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))


def _upright(pixels: UInt8[np.ndarray, "h w 3"], orientation: int) -> UInt8[np.ndarray, "3 h2 w2"]:
    if orientation in _UPRIGHT:
        pixels = np.asarray(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))
    return np.moveaxis(pixels, -1, 0)


def _undecodable(name: str, start: bytes, fault: Exception) -> ImageError:
    """The error for a file whose pixels cannot be decoded, whatever is left out."""
    if isinstance(fault, UnidentifiedImageError):
        return ImageError(
            f"{name} is no {_FORMATS_IN_WORDS} image (it begins with {start[:16]!r}); "
            "restore it or remove it"
        )
    if isinstance(fault, Image.DecompressionBombError):
        return ImageError(
            f"{name} is far larger than the {MEGAPIXELS} megapixels that are decoded; "
            "scale it down first"
        )
    why = " ".join(str(fault).split()) or type(fault).__name__
    what = "truncated" if "truncated" in why else f"damaged ({why})"
    return ImageError(f"{name} is {what}; restore it or remove it")


def check_size(width: int, height: int, name: str) -> None:
    """Refuse an image of more than `MEGAPIXELS`, or of none (ImageError)."""
    if width * height > MEGAPIXELS * 1_000_000:
        raise ImageError(
            f"{name} has {width * height / 1e6:.1f} megapixels ({width} × {height}); "
            f"at most {MEGAPIXELS} are decoded; scale it down first"
        )
    if width * height == 0:
        raise ImageError(f"{name} is {width} × {height} pixels; an image has at least one")


def rgb_array(image: Image.Image, name: str) -> UInt8[np.ndarray, "3 h w"]:
    """A Pillow image of any mode as upright 8-bit RGB; its pixels are loaded here.

    Raises:
        ImageError: floating-point or 32-bit pixels, or a colour space without a rule.
        OutOfMemoryError: memory ran out.
        Exception: what Pillow raises on broken bytes.
    """
    try:
        with _strict_and_silent():
            image.load()
            return _upright(np.asarray(_to_rgb(image, name)), _orientation(image))
    except Exception as error:
        if isinstance(error, MemoryError) or (is_out_of_memory(error) and _memory_is_short(image)):
            raise out_of_memory(f"{name} ({image.width} × {image.height})") from error
        raise


def out_of_memory(name: str) -> OutOfMemoryError:
    """The error for an image that memory did not suffice for; it says what to lower."""
    return OutOfMemoryError(
        f"memory ran out while {name} was decoded; use fewer workers (--workers, workers) or a "
        "smaller batch (--batch-size, batch_size)"
    )


def _memory_is_short(image: Image.Image) -> bool:
    """Whether the memory for the pixels is not to be had.

    Pillow says "out of memory" of TIFF files whose sizes contradict each other, too.
    """
    try:
        np.empty(image.width * image.height * 4, np.uint8)
    except MemoryError:
        return True
    return False


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray(eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "32-bit whole-number" if image.mode == "I" else "floating-point"
        raise ImageError(
            f"{name} has {kind} pixels, whose range is unknown; save it with 8 or 16 bits"
        )
    if image.mode == "LAB":  # Pillow has no formula for it without a colour profile
        raise ImageError(f"{name} has LAB pixels, which are not converted; save it as RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def eight_bits(values: Integer[np.ndarray, "*axes"]) -> UInt8[np.ndarray, "*axes"]:
    """16-bit values as 8-bit ones: divided by 257 and rounded, so that 65535 becomes 255."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none or the EXIF block is unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 the pixels are whole; a damaged note about them is not needed
        return 1


@contextlib.contextmanager
def _strict_and_silent() -> Iterator[None]:
    """Let Pillow refuse truncated files whatever the caller chose, and not warn of metadata."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
