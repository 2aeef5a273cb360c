"""WebDataset: samples in tar files, whose members share a name up to its first dot.

Of the sample `000042.jpg`, `000042.txt`, `000042.json` the picture is an image of the set; the text
is what it was asked for, or what it shows. A set has one tar or many. They are indexed once and
read in place: nothing is unpacked.
Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

import io
import itertools
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError, SpecError, first_line
from unseen.core.files import as_place, open_regular, read_range
from unseen.core.hashes import cached_sha256, file_state
from unseen.core.registry import Spec, takes
from unseen.core.storage import Stored
from unseen.core.wording import printable
from unseen.images.captions import caption_in
from unseen.images.decode import EXTENSIONS, decode
from unseen.images.inventory import COMPANION, LeftOut, no_images, take_images, tell_left_out
from unseen.images.naming import fingerprint_of

_TEXTS = (".txt", ".json", ".cls")  # parts of a sample that say what it shows, in this order
_LARGEST = 1 << 30  # bytes; a member that claims more is no picture
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 1_000_000  # that a range may name


class _Member(NamedTuple):
    """Where a member's bytes lie."""

    tar: int  # number of the tar
    start: int
    size: int


class WebDatasetSource:
    """Images of tar files; names are those of their members, behind the tar's where it has many."""

    endless = False

    def __init__(self, tars: Sequence[Path | Stored], spec: str) -> None:
        self.spec = spec
        self._tars = list(tars)
        names = [tar.name for tar in tars]
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise ImageError(f"{spec} names two tars that are both called {repeated}; rename one")
        others = LeftOut()
        members: dict[str, _Member] = {}
        for number, tar in enumerate(tars):
            prefix = f"{tar.name}/" if len(tars) > 1 else ""
            for name, member in _members(tar, number, others):
                if f"{prefix}{name}" in members:
                    raise ImageError(f"{tar} holds {name!r} twice; pack it again")
                members[f"{prefix}{name}"] = member
        samples = {_sample(name)[0] for name in members if _sample(name)[1] in EXTENSIONS}
        texts, files = {}, []
        for name in members:
            sample, part = _sample(name)
            if sample in samples and part in _TEXTS:
                texts[name] = members[name]
                others.add(COMPANION, name)
            elif sample in samples and part not in EXTENSIONS:
                others.add(f"{part}, beside the image of a sample", name)
            else:
                files.append(name)
        self._places = members
        place = spec.partition(":")[2]
        self.names: Sequence[str] = take_images(files, place, self._peek, others)
        self.left_out = others.record()
        self._places = {name: members[name] for name in self.names}
        self._texts: Mapping[str, _Member] = texts
        self._captions: list[str] | None = None  # of all images, read when first asked for

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` in its own resolution (ImageError: it cannot be read or decoded)."""
        name = self.names[index]
        member = self._places[name]
        shown = printable(f"{self._tars[member.tar]}: {name}")
        if member.size > _LARGEST:
            raise ImageError(f"{shown} claims to hold more than 1 GiB; remove it")
        try:
            return decode(io.BytesIO(self._bytes(member)), shown)
        except OSError as error:
            raise ImageError(f"{shown} cannot be read ({error.strerror or error})") from error

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """The texts of the samples: their `.txt`, their `.json`, or the class in their `.cls`.

        None where no sample has one.

        Raises:
            ImageError: some samples have none, or a text cannot be read.
        """
        if not self._texts:
            return None
        if self._captions is None:
            self._captions = [self._caption(name) for name in self.names]
        return [self._captions[index] for index in indices]

    def fingerprint(self) -> str:
        """SHA-256 of the tar's bytes, or over those of all."""
        if len(self._tars) == 1:
            return cached_sha256(self._tars[0])
        names = [tar.name for tar in self._tars]
        return fingerprint_of(names, map(cached_sha256, self._tars))

    def states(self, indices: Sequence[int]) -> list[str]:
        """Size and time of the tar of every image."""
        tars = [self._places[self.names[index]].tar for index in indices]
        known = {tar: file_state(self._tars[tar]) for tar in set(tars)}
        return [known[tar] for tar in tars]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_captions": None, "_texts": {}}  # workers read images alone

    def _caption(self, name: str) -> str:
        sample = _sample(name)[0]
        part = next((part for part in _TEXTS if f"{sample}{part}" in self._texts), None)
        if part is None:
            raise ImageError(
                f"{self.spec}: {name} has none of {', '.join(_TEXTS)} beside it, and other images "
                "have; add it, or leave these files out of all samples"
            )
        try:
            text = self._bytes(self._texts[f"{sample}{part}"]).decode("utf-8-sig").strip()
            if part == ".json":
                return caption_in(json.loads(text))
            return f"class {text}" if part == ".cls" else text
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ImageError(
                f"{self.spec}: {sample}{part} says nothing of its image ({first_line(error)}); "
                "mend it, or leave it out of all samples"
            ) from error

    def _peek(self, name: str, count: int) -> bytes:
        member = self._places[name]
        return self._bytes(member._replace(size=min(count, member.size)))

    def _bytes(self, member: _Member) -> bytes:
        return read_range(self._tars[member.tar], member.start, member.size)


def _members(path: Path | Stored, number: int, others: LeftOut) -> Iterator[tuple[str, _Member]]:
    """The regular files of a tar; what else it holds is added to `others`."""
    size = path.stat().st_size
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                # Else all headers are held: a gigabyte for a million.
                tar.members = []  # type: ignore[attr-defined]
                if not member.isreg() or member.issparse():
                    if not member.isdir():
                        others.add("no regular file", member.name)
                    continue
                if member.offset_data + member.size > size:
                    raise ImageError(
                        f"{path} is truncated: {printable(member.name)} reaches beyond its end; "
                        "restore it"
                    )
                yield (
                    member.name.removeprefix("./"),
                    _Member(number, member.offset_data, member.size),
                )
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ImageError(
            f"{path} cannot be read as a tar ({first_line(error)}); restore it, or unpack it where "
            "it is compressed"
        ) from error


def _sample(name: str) -> tuple[str, str]:
    """The sample of a member, and its part: "a/b" and ".seg.png" of "a/b.seg.png"."""
    folder, slash, file = name.rpartition("/")
    stem, dot, part = file.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{part}".lower()


@takes()
def open_webdataset(spec: Spec) -> WebDatasetSource:
    """The entry point `webdataset:FILE.tar`, `shards/{000..012}.tar`, `shards/*.tar`, `shards`.

    Raises:
        ImageError: there is no such tar, or it cannot be read.
        SpecError: a range that names too many.
    """
    tars = shard_files(spec, ".tar")
    return tell_left_out(WebDatasetSource(tars, spec.text))


def shard_files(spec: Spec, ending: str) -> list[Path | Stored]:
    """The files that a spec names, in the order of their names.

    Args:
        spec: whose argument is a file, a folder of them, or a pattern.
        ending: of the files, with its dot.
    """
    named = spec.require_argument("file")
    place = as_place(named)
    if place.is_dir():
        found = _matching(place, f"*{ending}")
        if not found:
            raise no_images(f"{place} (as {spec.name})", {})
        return found
    parts = _RANGE.split(str(place))
    ranges = [range(int(a), int(b) + 1) for a, b in zip(parts[1::3], parts[2::3], strict=True)]
    shards = 1
    for numbers in ranges:
        shards *= len(numbers)
    if not 1 <= shards <= _MOST_SHARDS:
        raise SpecError(f"{spec.text!r} names {shards:,} files; name 1 to {_MOST_SHARDS:,}")
    files: list[Path | Stored] = []
    for chosen in itertools.product(*ranges):
        text = parts[0]
        for number, width, after in zip(chosen, parts[1::3], parts[3::3], strict=True):
            text += f"{number:0{len(width)}}{after}"
        file = as_place(text)
        files += _matching(file.parent, file.name) if "*" in file.name else [file]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise ImageError(
            f"{missing[0] if missing else place} does not exist; give a {ending}, a folder of "
            f"them, or a pattern such as shards/{{000..012}}{ending}"
        )
    return files


def _matching(folder: Path | Stored, pattern: str) -> list[Path | Stored]:
    """The files of a folder whose names fit a pattern, in the order of these."""
    return sorted(folder.glob(pattern), key=lambda path: path.name)
