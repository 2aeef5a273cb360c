"""Which files of a folder or an archive are its images, which are left out, and why.

Images are known by their ending, and where the ending says nothing by their first bytes. What
unseen itself wrote (pages, label maps, sheets of samples) is never an image of the set.
"""

import posixpath
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from unseen.core.errors import ImageError
from unseen.core.wording import count, printable
from unseen.images.decode import EXTENSIONS, EXTENSIONS_IN_WORDS, SIGNATURE_BYTES, image_format
from unseen.images.naming import PackedNames, index_order

Source = TypeVar("Source", bound=Any)
Peek = Callable[[str, int], bytes]
"""Gives the first bytes of a file: its name in the set, and how many."""

HIDDEN = "hidden"
OWN_OUTPUT = "written by unseen"
COMPANION = "companion of a set"
QUIET = (HIDDEN, COMPANION)  # in the record, but nothing that a user would miss
_COMPANIONS = ("dataset.json", "sample.json", "metadata.jsonl", "Thumbs.db", "desktop.ini")

# Endings whose files are not looked into: none of them is an image under another name.
_KNOWN_OTHERS = re.compile(
    r"\.(txt|jsonl?|csv|tsv|md|xml|html|ya?ml|log|py|parquet|np[yz]|pth?|pkl|safetensors|ckpt|onnx"
    r"|mp[34]|mov|avi|mkv|webm|wav|zip|tar|gz|pdf"
    r"|part|tmp|crdownload|download|bak|swp)"  # half-written files, and copies that programs leave
)
# Raw pictures of cameras begin as TIFF does, and hold a small preview.
_RAW = re.compile(r"\.(cr2|nef|nrw|arw|sr[2fw]|dng|orf|rw2|pef|raf|3fr|iiq|erf|mef|mos)")

_RECORDS = ("comparison.json", "evidence.json", "inversions.json")  # of a folder that unseen wrote
_OWN_SCHEMA = re.compile(rb'"schema"\s*:\s*"(label_maps|pictures)"')  # of an about.json
_RUN_WITHOUT_RECORD = re.compile(r"(?:(.*)/)?areas/[^/]+\.parquet(?:\.parts/.*)?")
_WHOLE_GRID = 1 << 24  # bytes; WebP has its notes at the end
_SAMPLE = re.compile(r"\d{8}\.png")  # an image of a folder with sample.json
_OWN_LABELS = re.compile(r"(\d{5})-labels\.png")  # beside an example image
GRID_MARK = "unseen grid"  # in the notes of a picture of many samples
_SCENE_LABELS = re.compile(r"(?:.*/)?label-maps/churchyard-seed\d+-\d{6}\.png")


class LeftOut:
    """What a place holds beside its images: for each reason a count and the first names."""

    _NAMES = 3  # names kept a reason

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[int, list[str]]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count a file that is left out for a reason: its ending, or a few words."""
        files, names = self._reasons.get(reason, (0, []))
        self._reasons[reason] = (files + 1, [*names, name][: self._NAMES])

    def record(self) -> dict[str, dict[str, Any]]:
        """The reasons as JSON: how many files each, and the names of the first."""
        return {
            reason: {"count": files, "names": names}
            for reason, (files, names) in sorted(self._reasons.items())
        }


def left_out(source: Any) -> dict[str, dict[str, Any]]:
    """What a source found and did not take, as JSON: reason → count and the first names.

    Args:
        source: any image source; the built-in ones say it, others have left nothing out.
    """
    return dict(getattr(source, "left_out", {}))


def left_out_in_words(reasons: Mapping[str, Mapping[str, Any]]) -> str:
    """A record of what was left out, as a list: `3 .avif, 12 written by unseen (run1/report.png)`.

    >>> left_out_in_words({".gif": {"count": 3, "names": ["a.gif", "b.gif", "c.gif"]}})
    '3 .gif'
    """
    ordered = sorted(reasons.items(), key=lambda item: (-item[1]["count"], item[0]))
    listed = ", ".join(
        f"{group['count']:,} {reason}"
        + ("" if reason.startswith(".") else f" ({', '.join(group['names'][:1])})")
        for reason, group in ordered
    )
    return printable(listed)


def tell_left_out(source: Source) -> Source:
    """The source, after a warning of files that a user may have taken for its images."""
    reasons = {reason: group for reason, group in left_out(source).items() if reason not in QUIET}
    if reasons:
        warnings.warn(
            f"{source.spec}: {count(len(source.names), 'image')}; left out: "
            f"{left_out_in_words(reasons)}",
            stacklevel=2,
        )
    return source


def take_images(names: Iterable[str], place: str, peek: Peek, left_out: LeftOut) -> PackedNames:
    """The images among the files of a set, in index order; the others are added to `left_out`.

    Of a million names each step takes about a second: nothing is looked at closely that the plain
    text of a name decides.

    Args:
        names: paths in the set, with `/`.
        place: how messages call the set.
        peek: gives the first bytes of a file (OSError where it cannot be read).
        left_out: takes the rest.

    Raises:
        ImageError: there is no image, or the whole set is what unseen wrote.
    """
    files = []
    for name in sorted(names):  # so that the first names are the same everywhere
        doubtful = name.startswith((".", "_")) or "/." in name or "/_" in name
        if doubtful and any(map(is_hidden, PurePosixPath(name).parts)):
            left_out.add(HIDDEN, name)
        else:
            files.append(name)
    own = _OwnOutput(files, place, peek)
    images = []
    for name in files:
        reason = OWN_OUTPUT if name in own else _why_no_image(name, peek)
        if reason is None:
            images.append(name)
        else:
            left_out.add(reason, name)
    if not images:
        raise no_images(place, left_out.record())
    return PackedNames(index_order(images))


def no_images(place: str, reasons: Mapping[str, Mapping[str, Any]]) -> ImageError:
    """The error for a place that holds no image: it says what was found there."""
    if not reasons:
        return ImageError(f"{place} is empty; put images into it ({EXTENSIONS_IN_WORDS})")
    return ImageError(
        f"{place} holds no images, but {left_out_in_words(reasons)}; needed are "
        f"{EXTENSIONS_IN_WORDS}"
    )


class _OwnOutput:
    """Which files of a set are the output of unseen's own commands.

    These are all files below a folder with one of its records, label maps with their `about.json`,
    in a folder with `sample.json` whatever is not one of the samples, and pictures of many samples,
    which are not written to folders of other images.
    """

    def __init__(self, files: Sequence[str], place: str, peek: Peek) -> None:
        self._folders: dict[str, str] = {}  # folder → the record by which it is known
        self._samples: set[str] = set()
        self._files = set(files)
        for name in self._files:
            folder, _, file = name.rpartition("/")
            if file in _RECORDS or (file == "about.json" and _is_own(name, peek)):
                self._folders[folder] = file
            elif file == "sample.json":
                self._samples.add(folder)
            elif ".parquet" in name and (run := _RUN_WITHOUT_RECORD.fullmatch(name)):
                self._folders.setdefault(run[1] or "", "areas/")
        if "" in self._folders:
            raise ImageError(
                f"{place} was written by unseen (it holds {self._folders['']}) and is no set of "
                "images; name the folder of images itself, or move them to a folder of their own"
            )

        self._grids = set(_grids(files, peek))

    def __contains__(self, name: str) -> bool:
        if name in self._grids:
            return True
        folder, _, file = name.rpartition("/")
        if folder in self._samples and _ending(file) in EXTENSIONS:
            return not _SAMPLE.fullmatch(file)
        if (labels := _OWN_LABELS.fullmatch(file)) and self._is_example(folder, labels[1]):
            return True
        if _SCENE_LABELS.fullmatch(name):
            return True
        return bool(self._folders) and any(
            str(above) in self._folders for above in PurePosixPath(name).parents
        )

    def _is_example(self, folder: str, number: str) -> bool:
        stem = f"{folder}/{number}" if folder else number
        return any(f"{stem}{ending}" in self._files for ending in (".png", ".jpg"))


def _grids(files: Iterable[str], peek: Peek) -> Iterator[str]:
    """The pictures of many samples among files in the order of their names.

    Of a folder the first images are looked into, up to one that is something else.
    """
    others = set()
    for name in files:
        folder = name.rpartition("/")[0]
        if folder not in others and _ending(name) in EXTENSIONS:
            try:
                grid = is_grid(peek(name, _WHOLE_GRID))
            except OSError:
                grid = False
            if grid:
                yield name
            else:
                others.add(folder)


def is_grid(content: bytes) -> bool:
    """Whether the bytes of a picture say that it shows many samples."""
    return GRID_MARK.encode() in content


def _why_no_image(name: str, peek: Peek) -> str | None:
    """Why a file is left out; None for an image."""
    ending = _ending(name)
    if ending in EXTENSIONS:
        return None
    if name.rpartition("/")[2] in _COMPANIONS:
        return COMPANION
    reason = ending if len(ending) > 1 else "without an ending"
    if _KNOWN_OTHERS.fullmatch(ending) or name.endswith("~"):
        return reason
    try:
        kind = image_format(peek(name, SIGNATURE_BYTES))
    except OSError:
        return "that cannot be read"
    return reason if kind is None or (kind == "TIFF" and _RAW.fullmatch(ending)) else None


def _ending(name: str) -> str:
    """The ending of a file's name, in lower case, with its dot."""
    return posixpath.splitext(name)[1].lower()


def _is_own(name: str, peek: Peek) -> bool:
    """Whether an `about.json` is unseen's; example pictures are a set where they are named."""
    try:
        schema = _OWN_SCHEMA.search(peek(name, 1 << 20))
    except OSError:
        return False
    return schema is not None and (schema[1] == b"label_maps" or "/" in name)


def is_hidden(part: str) -> bool:
    """Whether a part of a name begins with a dot (thumbnails, `._photo.jpg`), or is macOS's."""
    return part.startswith(".") or part == "__MACOSX"
