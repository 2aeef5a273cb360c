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
(told by the header, before anything is decoded), truncated and undecodable files.
"""

import contextlib
import warnings
from collections.abc import Iterator
from io import BufferedIOBase

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from unseen.core.errors import ImageError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
EXTENSIONS_IN_WORDS = ".png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff"
MEGAPIXELS = 64  # above the largest 35 mm camera; as RGB 192 MB

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # no format whose decoder starts a program
_FORMATS_IN_WORDS = "PNG, JPEG, WebP, BMP or TIFF"
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


def decode(file: BufferedIOBase, name: str) -> UInt8[np.ndarray, "3 h w"]:
    """Decode one image file to 8-bit RGB by this module's rule.

    Args:
        file: open for reading, at its beginning.
        name: for the error message.

    Returns:
        The pixels, in the file's own resolution; a view, not necessarily contiguous.

    Raises:
        ImageError: truncated, undecodable, too large, or of a kind that has no 8-bit meaning.
    """
    start = file.read(16)
    file.seek(0)
    if not start:
        raise ImageError(f"{name} is empty (0 bytes); restore it or remove it")
    try:
        with _no_warnings():
            image = Image.open(file, formats=_FORMATS)  # type: ignore[arg-type]  # a BytesIO too
            check_size(*image.size, name)
            image.load()
            return rgb_array(image, name)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is no {_FORMATS_IN_WORDS} image (it begins with {start!r}); "
            "restore it or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is far larger than the {MEGAPIXELS} megapixels that are decoded; "
            "scale it down first"
        ) from error
    except Exception as error:  # decoders raise nearly anything on broken bytes
        why = " ".join(str(error).split()) or type(error).__name__
        what = "truncated" if "truncated" in why else f"damaged ({why})"
        raise ImageError(f"{name} is {what}; restore it or remove it") from error


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
    """A loaded Pillow image of any mode as upright 8-bit RGB.

    Raises:
        ImageError: floating-point or 32-bit pixels.
    """
    orientation = _orientation(image)
    rgb = _to_rgb(image, name)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.moveaxis(np.asarray(rgb), -1, 0)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "32-bit whole-number" if image.mode == "I" else "floating-point"
        raise ImageError(
            f"{name} has {kind} pixels, whose range is unknown; save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none or the EXIF block is unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 the pixels are whole; a damaged note about them is not needed
        return 1


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence Pillow's warnings: sizes are checked here, and damaged notes are harmless."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
