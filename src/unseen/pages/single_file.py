"""A page as one file: the pictures that lie beside it become part of its HTML.

Every picture is held once, as WebP, shrunk as far as the size of the file asks for. Figures stay
vectors. What the page's script shows is found by its path among the pictures that are held.
"""

import base64
import dataclasses
import html
import io
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from unseen.images.record_pictures import picture_path, read_picture

MOST_BYTES = 10_000_000  # of the file: what mail servers and chats take
_SOURCE = re.compile(r'\b(src|srcset)="([^":#][^":]*)"')  # of a file beside the page
_DATA = re.compile(r'"(?:image|tiles)":("(?:[^"\\]|\\.)*")')  # in the data of the script
_SAMPLE = 48  # pictures, and overlays, by which the size of all is estimated
_AROUND = 16  # bytes around a picture and its path, where it is held
_LOSSLESS = 128  # pixels; larger pictures are photographs, which lose little that is seen


@dataclasses.dataclass(frozen=True)
class _Size:
    """How far pictures are shrunk."""

    side: int  # pixels at most
    quality: int  # of WebP, 0 to 100
    overlay: int  # pixels at most of the width of an overlay, which is drawn enlarged

    @property
    def lossless(self) -> bool:
        return self.quality > 80


# From what looks as the pictures do down to what still shows what they are of.
_SIZES = (
    _Size(320, 82, 320),
    _Size(256, 80, 256),
    _Size(192, 75, 160),
    _Size(144, 70, 96),
    _Size(112, 60, 64),
    _Size(112, 60, 48),
    _Size(88, 50, 48),
    _Size(64, 45, 48),
)


def inline(page: str, folder: Path) -> str:
    """The page with its pictures inside.

    Args:
        page: the HTML of the page, without the ending `</html>`.
        folder: that the page is for; paths of pictures are relative to it.

    Raises:
        RecordError: a picture is missing or broken.
    """
    markup, script = page, ""
    start = page.find('<script type="application/json"')
    if start >= 0:  # what the script shows is named there, and nothing is replaced
        markup, script = page[:start], page[start:]
    static = [html.unescape(path) for _, path in _SOURCE.findall(markup)]
    dynamic = [json.loads(path) for path in _DATA.findall(script)]
    paths = list(dict.fromkeys([*static, *dynamic]))
    told_by = sum(len(path) + _AROUND for path in paths)
    addresses = _addresses(folder, paths, MOST_BYTES - len(page.encode()) - told_by)

    def replace(match: re.Match[str]) -> str:
        attribute, path = match[1], html.unescape(match[2])
        if path in told:
            return f'data-inlined="{html.escape(path)}"'
        told.add(path)
        return f'{attribute}="{addresses[path]}" data-path="{html.escape(path)}"'

    told: set[str] = set()
    markup = _SOURCE.sub(replace, markup)
    left = {path: addresses[path] for path in dynamic if path not in told}
    held = json.dumps(left, separators=(",", ":")).replace("<", "\\u003c")
    store = f'<script type="application/json" id="inlined">{held}</script>\n'
    where = markup.rfind("<script>") if start < 0 else len(markup)
    return markup[:where] + store + markup[where:] + script


def _addresses(folder: Path, paths: list[str], budget: int) -> Mapping[str, str]:
    """Path → data address of every file, the largest that the budget has room for."""
    figures = {path: _figure(folder, path) for path in paths if path.endswith(".svg")}
    pictures = [path for path in paths if path not in figures]
    budget -= sum(map(len, figures.values()))
    photographs = [path for path in pictures if not _is_overlay(path)]
    overlays = [path for path in pictures if _is_overlay(path)]
    samples = [
        (kind[:: max(1, len(kind) // _SAMPLE)], len(kind)) for kind in (photographs, overlays)
    ]
    for size in _SIZES:
        if size is not _SIZES[-1]:
            estimated = sum(
                sum(map(len, _encoded(folder, sample, size).values())) * of / len(sample)
                for sample, of in samples
                if sample
            )
            if estimated > budget:
                continue
        encoded = _encoded(folder, pictures, size)
        over = sum(map(len, encoded.values())) - budget
        if over <= 0 or size is _SIZES[-1]:
            break
    if over > 0:
        warnings.warn(
            f"the single file has {(MOST_BYTES + over) / 1e6:.1f} MB, above {MOST_BYTES / 1e6:g}; "
            "compare fewer sides at once for a smaller one",
            stacklevel=2,
        )
    return figures | encoded


def _encoded(folder: Path, pictures: Iterable[str], size: _Size) -> dict[str, str]:
    return {path: _picture(folder, path, size) for path in pictures}


def _figure(folder: Path, path: str) -> str:
    return _address("image/svg+xml", picture_path(folder, path).read_bytes())


def _picture(folder: Path, path: str, size: _Size) -> str:
    """A picture, or an overlay with its transparency, as WebP."""
    buffer = io.BytesIO()
    if _is_overlay(path):
        with Image.open(picture_path(folder, path)) as file:
            overlay = file.convert("RGBA")
        # An overlay may hold several maps one below the other: its width counts.
        factor = min(1.0, size.overlay / overlay.width)
        shape = max(1, round(overlay.width * factor)), max(1, round(overlay.height * factor))
        if factor < 1:
            overlay = overlay.resize(shape, Image.Resampling.NEAREST)
        overlay.save(buffer, "WEBP", lossless=True, method=4)
    else:
        picture = Image.fromarray(read_picture(folder, path).transpose(1, 2, 0))
        lossless = size.lossless and max(picture.size) <= _LOSSLESS
        picture.thumbnail((size.side, size.side), Image.Resampling.LANCZOS)
        picture.save(buffer, "WEBP", lossless=lossless, quality=size.quality, method=4)
    return _address("image/webp", buffer.getvalue())


def _is_overlay(path: str) -> bool:
    return path.startswith("overlays/")


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
