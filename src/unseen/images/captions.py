"""What images were asked for, or show, as `metadata.jsonl` says it beside them.

One JSON object a line: `{"file_name": "00000042.png", "prompt": "a church"}`, as the folders of
Hugging Face's `imagefolder` and of many samplers have it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unseen.core.errors import ImageError

METADATA = "metadata.jsonl"
TEXTS = ("prompt", "caption", "text", "condition", "label")  # fields, the first that is there


def caption_line(name: str, condition: str) -> str:
    """The line of an image."""
    return json.dumps({"file_name": name, "prompt": condition}, ensure_ascii=False) + "\n"


def caption_in(entry: Mapping[str, Any]) -> str:
    """The text of one image's object (KeyError: it has none; TypeError: it is no object)."""
    for field in TEXTS:
        if field in entry:
            text = entry[field]
            return text if isinstance(text, str) else json.dumps(text)
    raise KeyError(f"none of {', '.join(TEXTS)}")


def read_captions(lines: Iterable[bytes], place: str) -> dict[str, str]:
    """The texts by the names of the images; of two lines for a name the last one counts.

    Args:
        lines: of the file.
        place: how messages call it.

    Raises:
        ImageError: a line is no JSON object with a file name and a text.
    """
    captions: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            captions[str(entry["file_name"])] = caption_in(entry)
        except (ValueError, TypeError, KeyError) as error:
            raise ImageError(
                f"line {number} of {place} is no object with file_name and one of "
                f"{', '.join(TEXTS)}; mend the line, or remove the file"
            ) from error
    return captions


def captions_of(names: Sequence[str], captions: Mapping[str, str], place: str) -> list[str]:
    """The texts of these images (ImageError: there is none of some)."""
    missing = [name for name in names if name not in captions]
    if missing:
        raise ImageError(
            f"{place} says nothing of {missing[0]} and {len(missing) - 1} more of {len(names)} "
            "images; add their lines, or remove the file"
        )
    return [captions[name] for name in names]
