"""The page of an audit: one picture at a time, a key an answer; one file by itself."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unseen.audit.picture import AuditPicture
from unseen.core.files import sha256_of_parts, write_text
from unseen.images.decode import as_picture
from unseen.pages.templating import asset, colours, data, plain_environment, policy

_LARGEST = 640  # pixels: what a phone shows, and a laptop without scrolling
_LOSSLESS = 128  # pixels; below, artefacts would show and lossless costs little
_QUALITY = 85


def audit_page(path: Path, class_name: str, pictures: Sequence[AuditPicture]) -> Path:
    """Write the page.

    Args:
        path: of the file.
        class_name: what is asked of every picture.
        pictures: in the order in which they are shown.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    keys = [json.dumps([picture.side, picture.name]) for picture in pictures]
    told = {
        "class": class_name,
        # by which the browser finds the answers again
        "sample": sha256_of_parts([class_name, *keys])[:16],
        "pictures": [
            # not in plain words, so that the source of the page does not tell sides at a glance
            {"key": base64.b64encode(key.encode()).decode(), "address": _address(picture)}
            for key, picture in zip(keys, pictures, strict=True)
        ],
    }
    environment = plain_environment()
    css = colours() + asset(environment, "report.css", "audit.css")
    script = asset(environment, "audit.js")
    html = environment.get_template("audit.html.j2").render(
        class_name=class_name,
        count=len(pictures),
        css=css,
        script=script,
        policy=policy(css, script, alone=True),
        data=data(told),
    )
    write_text(path, html)
    return path


def _address(picture: AuditPicture) -> str:
    image = as_picture(picture.image)
    lossless = max(image.size) <= _LOSSLESS
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
