"""Object storage: a file or a folder that is named by a URL, read in place through fsspec.

Credentials come from the environment, or from the provider's own chain. A URL that holds any is
refused, so that none gets into a record or a message.
"""

import contextlib
import dataclasses
import datetime
import fnmatch
import functools
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from unseen.core.errors import SpecError, StoreError, UnseenError, first_line, missing_package

# Scheme → package. `memory` is a store of this process alone: for trying things out, and tests.
_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
_URL = re.compile(rf"({'|'.join(_PACKAGES)})://(.*)", re.DOTALL)
_PATH = re.compile(rf"({'|'.join(_PACKAGES)}):/(.*)", re.DOTALL)  # Path("s3://b") is "s3:/b"
# What stores say of the contents of an object, the first that is there; at last, when it was made.
_VERSIONS = (
    *("ETag", "md5Hash", "etag", "lfs", "blob_id"),
    *("LastModified", "last_modified", "created", "mtime"),
)
_NO_CREDENTIALS = re.compile(r"credential|TokenRetrieval|ClientAuthentication", re.IGNORECASE)
REQUESTS = 16  # at once: each waits some 50 ms for the store
_SEPARATE_LEVELS = 2  # of folders whose subfolders are listed at once, each by itself
_BLOCK = 1 << 20  # bytes that are read ahead in a file


def is_url(place: str | Path) -> bool:
    """Whether it names a place in a store, e.g. `s3://bucket/photos`."""
    return _match(place) is not None


def _match(place: str | Path) -> re.Match[str] | None:
    # As a text "hf:/models/a" is the spec of a segmenter.
    return (_PATH if isinstance(place, Path) else _URL).fullmatch(str(place))


class ObjectState(NamedTuple):
    """An object of a listing."""

    name: str  # below the folder that was listed, with "/"
    st_size: int  # bytes; as `os.stat` calls them
    version: bytes  # changes when the contents do


@dataclasses.dataclass(frozen=True)
class Stored:
    """A file or a folder in a store, with those members of `pathlib.Path` that readers use.

    What is said of it (`stat`, `exists`) is asked for once.

    >>> (stored("s3://bucket/photos/") / "a.jpg").url
    's3://bucket/photos/a.jpg'

    Raises:
        StoreError: of every method that asks the store: it cannot be reached, or refuses.
        MissingExtraError: the package for such URLs is not installed.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Stored":
        return Stored(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "Stored":
        """The folder that it lies in."""
        return Stored(self.url.rpartition("/")[0])

    @property
    def bucket(self) -> str:
        """The bucket or container, with the scheme."""
        return "/".join(self.url.split("/")[:3])

    @functools.cached_property
    def _info(self) -> Mapping[str, Any] | None:
        """What the store says of it; None: it is not there."""
        with asking(self.url):
            try:
                info: Mapping[str, Any] = self.filesystem.info(self.url)
            except FileNotFoundError:
                return None
            return info

    @property
    def filesystem(self) -> Any:
        """Of fsspec; one a process. It remembers no listings: other machines write, too."""
        scheme = self.url.partition(":")[0]
        try:
            import fsspec

            options = {"session": _s3_session()} if scheme == "s3" else {}
            with asking(self.url):
                return fsspec.filesystem(scheme, use_listings_cache=False, **options)
        except ImportError as error:
            raise missing_package(self.url, _PACKAGES[scheme]) from error

    def exists(self) -> bool:
        """Whether there is such a file, or a folder with something in it."""
        return self._info is not None

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return self._info is not None and self._info["type"] == "file"

    def is_dir(self) -> bool:
        """Whether there is a folder with something in it."""
        return self._info is not None and self._info["type"] == "directory"

    def state(self) -> ObjectState | None:
        """Size and version of the file; None: there is none."""
        if not self.is_file() or self._info is None:
            return None
        return ObjectState(self.name, self._info["size"], _version(self._info, self.url))

    def stat(self) -> ObjectState:
        """Size and version of the file (FileNotFoundError)."""
        if (state := self.state()) is None:
            raise FileNotFoundError(2, "it is not there", self.url)
        return state

    def sha256(self) -> str:
        """SHA-256 of the version of the file, which changes with its contents.

        Nothing is read: stores keep a hash of the contents (FileNotFoundError).
        """
        return hashlib.sha256(self.stat().version).hexdigest()

    def open(self) -> io.BufferedReader:
        """The file, open for reading; it may be sought in (FileNotFoundError)."""
        with asking(self.url):
            file = self.filesystem.open(self.url, "rb", block_size=_BLOCK, cache_type="readahead")
        return io.BufferedReader(_Asking(file, self.url))

    def read(self, start: int = 0, count: int | None = None) -> bytes:
        """Some bytes of the file, in one request (FileNotFoundError)."""
        with asking(self.url):
            stop = None if count is None else start + count
            content: bytes = self.filesystem.cat_file(self.url, start=start or None, end=stop)
        return content

    def glob(self, pattern: str) -> Iterator["Stored"]:
        """The files of the folder whose name fits a pattern."""
        with asking(self.url):
            try:
                entries = self.filesystem.ls(self.url, detail=True)
            except FileNotFoundError:
                return
        for entry in entries:
            name = entry["name"].rpartition("/")[2]
            if entry["type"] == "file" and fnmatch.fnmatchcase(name, pattern):
                file = self / name
                file.__dict__["_info"] = entry
                yield file

    def files(self) -> Iterator[ObjectState]:
        """All files below the folder, in any order; nothing where there are none.

        Pages of the listing are let go of as they are read: a million files fit into memory.

        Raises:
            FileNotFoundError: there is no such bucket.
        """
        filesystem = self.filesystem
        with asking(self.url):
            root = filesystem._strip_protocol(self.url).rstrip("/") + "/"
            pages = _s3_pages if hasattr(filesystem, "call_s3") else _walked_pages
            for page in pages(filesystem, root):
                for path, info in page:
                    # Consoles make an empty object for a folder.
                    if path.startswith(root) and not path.endswith("/"):
                        name = path.removeprefix(root)
                        yield ObjectState(name, info["size"], _version(info, f"{self}/{name}"))


def stored(text: str | Path) -> Stored:
    """The place that a URL names.

    Raises:
        SpecError: it holds a user, a password or a query; it names no bucket; or a part of it is
            empty or leads upwards.

    >>> stored("gs://bucket/runs/1/").name
    '1'
    """
    match = _match(text)
    if match is None:
        raise SpecError(f"{text} is no URL of a store; known: {', '.join(_PACKAGES)}")
    scheme, rest = match[1], match[2].strip("/")
    parts = rest.split("/")
    if "@" in parts[0] or "?" in rest:
        raise SpecError(
            f"{scheme}://… holds a user, a password or a query; give {scheme}://BUCKET/PATH alone, "
            "and credentials in the environment"
        )
    if not rest or any(part in ("", ".", "..") for part in parts):
        raise SpecError(f"{text} is no place in a store; write {scheme}://BUCKET/PATH")
    return Stored(f"{scheme}://{rest}")


@contextlib.contextmanager
def asking(url: str, error: type[UnseenError] = StoreError, what: str = "read") -> Iterator[None]:
    """Say of what a store's library raises what is wrong with the place.

    Args:
        url: of the place.
        error: raised instead.
        what: is done there, for the message.

    Raises:
        error: the store cannot be reached, or refuses.
        FileNotFoundError, FileExistsError: these alone pass.
    """
    try:
        yield
    except (UnseenError, FileNotFoundError, FileExistsError, ImportError, MemoryError):
        raise
    except PermissionError as refused:
        raise error(
            f"{url} may not be {what} ({first_line(refused)}); give credentials that may in the "
            "environment"
        ) from refused
    except Exception as fault:
        if _NO_CREDENTIALS.search(type(fault).__name__):
            advice = "give credentials in the environment, or sign in with the provider's tool"
        else:
            advice = "see whether the store can be reached, then run the same command again"
        raise error(f"{url} cannot be {what} ({first_line(fault)}); {advice}") from fault


@functools.cache
def _s3_session() -> Any:
    """Of botocore; it reads times four times as fast, which is most of the time of a listing."""
    from aiobotocore.session import get_session
    from botocore.utils import parse_timestamp

    def time(value: Any) -> datetime.datetime:
        try:
            return datetime.datetime.fromisoformat(value)
        except (TypeError, ValueError):  # of another form than listings have
            parsed: datetime.datetime = parse_timestamp(value)
            return parsed

    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=time)
    return session


def _version(info: Mapping[str, Any], url: str) -> bytes:
    """Sixteen bytes that change when the contents of an object do."""
    value = next((info[key] for key in _VERSIONS if info.get(key)), None)
    if value is None:
        raise StoreError(
            f"the store gives no hash and no time of {url}; copy it, and name the copy"
        )
    said = value.strip('"') if isinstance(value, str) else str(value)
    return hashlib.blake2b(f"{info['size']} {said}".encode(), digest_size=16).digest()


_Page = list[tuple[str, Mapping[str, Any]]]  # path and what is said of it, object by object


def _walked_pages(filesystem: Any, root: str) -> Iterator[_Page]:
    """The files below a path, folder by folder.

    `walk` of fsspec passes over subfolders whose listing fails.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = filesystem.ls(folder, detail=True)
        except FileNotFoundError:  # in a store an empty folder is none
            continue
        inside = [entry for entry in entries if entry["name"].strip("/") != folder.strip("/")]
        waiting += [entry["name"] for entry in inside if entry["type"] == "directory"]
        yield [(entry["name"], entry) for entry in inside if entry["type"] != "directory"]


def _s3_pages(filesystem: Any, root: str) -> Iterator[_Page]:
    """The objects below a path, by pages of 1,000. The uppermost subfolders are listed at once."""
    bucket, _, prefix = root.partition("/")

    def page(prefix: str, level: int, token: str | None) -> tuple[str, int, Mapping[str, Any]]:
        asked = {"Bucket": bucket, "Prefix": prefix, **filesystem.req_kw}
        if level < _SEPARATE_LEVELS:
            asked["Delimiter"] = "/"
        if token is not None:
            asked["ContinuationToken"] = token
        return prefix, level, filesystem.call_s3("list_objects_v2", **asked)

    to_ask: list[tuple[str, int, str | None]] = [(prefix, 0, None)]
    under_way: set[Future[Any]] = set()
    with ThreadPoolExecutor(REQUESTS) as threads:
        while to_ask or under_way:
            while to_ask and len(under_way) < REQUESTS:  # no more pages are held than that
                under_way.add(threads.submit(page, *to_ask.pop()))
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                prefix, level, found = future.result()
                if found.get("IsTruncated"):
                    to_ask.append((prefix, level, found["NextContinuationToken"]))
                folders = found.get("CommonPrefixes", ())
                to_ask += [(folder["Prefix"], level + 1, None) for folder in folders]
                yield [
                    (f"{bucket}/{entry['Key']}", {"size": entry["Size"], **entry})
                    for entry in found.get("Contents", ())
                ]


class _Asking(io.RawIOBase):
    """A file of fsspec whose errors say what is wrong with the place."""

    def __init__(self, file: Any, url: str) -> None:
        self._file = file
        self._url = url

    def readinto(self, buffer: Any, /) -> int:
        """As RawIOBase says."""
        with asking(self._url):
            count: int = self._file.readinto(buffer)
        return count

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As RawIOBase says."""
        position: int = self._file.seek(offset, whence)
        return position

    def readable(self) -> bool:
        """As RawIOBase says."""
        return True

    def seekable(self) -> bool:
        """As RawIOBase says."""
        return True

    def close(self) -> None:
        """As RawIOBase says."""
        self._file.close()
        super().close()
