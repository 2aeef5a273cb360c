"""Every message in docs/images.md is one that the code gives, letter by letter."""

import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.core.errors import UnseenError
from unseen.images import open_images, subset

DOCS = (Path(__file__).parents[2] / "docs" / "images.md").read_text(encoding="utf-8")
MESSAGES = dict(re.findall(r"^\| ([^|]+) \| `([^|]+)` \|$", DOCS.partition("## When")[2], re.M))


def _put(path, content=b""):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def _read(name, content):
    _put(f"set/{name}", content)
    return open_images("set").read(0)


def _save(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _a_path_that_is_not_there():
    open_images("photos")


def _an_empty_folder():
    Path("empty").mkdir()
    open_images("empty")


def _a_folder_without_images():
    for name in ("a.mp4", "b.mp4", "c.txt"):
        _put(f"videos/{name}")
    open_images("videos")


def _a_file_that_holds_no_set():
    _put("notes.txt")
    open_images("notes.txt")


def _an_unknown_spec():
    open_images("flickr:cats")


def _an_unknown_option():
    open_images("folder:photos?colour=1")


def _fewer_images_than_asked_for():
    _put("set/a.png")
    subset(open_images("set"), 1000, 0)


class _Endless:
    spec = "churchyard?seed=1"
    names = ()
    endless = True

    def read(self, index):
        raise NotImplementedError

    def fingerprint(self):
        return ""


def _all_of_an_endless_set():
    subset(_Endless(), None, 0)


def _a_truncated_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    _read("cut.jpg", _save(Image.fromarray(noise), "JPEG")[:700])


def _an_empty_file():
    _read("empty.png", b"")


def _a_text_file_named_png():
    _read("text.png", b"just some text")


def _a_bomb_of_100_megapixels():
    _read("bomb.png", _save(Image.new("1", (10_000, 10_000)), "PNG"))


def _a_floating_point_tiff():
    _read("float.tif", _save(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


def _a_file_that_may_not_be_read():
    _put("set/gone.png")
    source = open_images("set")
    Path("set/gone.png").unlink()
    source.read(0)


def _a_zip_with_names_outside():
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../evil.png", b"")
    open_images("evil.zip")


def _a_broken_zip():
    _put("broken.zip", b"PK")
    open_images("broken.zip")


def _an_npz_of_floats():
    np.savez("floats.npz", np.zeros((2, 4, 4, 3), np.float32))
    open_images("floats.npz")


def _lmdb_without_its_package():
    _put("church/data.mdb")
    open_images("lmdb:church")


CASES = {
    "a path that is not there": _a_path_that_is_not_there,
    "an empty folder": _an_empty_folder,
    "a folder without images": _a_folder_without_images,
    "a file that holds no set": _a_file_that_holds_no_set,
    "an unknown spec": _an_unknown_spec,
    "an unknown option": _an_unknown_option,
    "fewer images than asked for": _fewer_images_than_asked_for,
    "all of an endless set": _all_of_an_endless_set,
    "a truncated JPEG": _a_truncated_jpeg,
    "an empty file": _an_empty_file,
    "a text file named .png": _a_text_file_named_png,
    "a bomb of 100 megapixels": _a_bomb_of_100_megapixels,
    "a floating-point TIFF": _a_floating_point_tiff,
    "a file that may not be read": _a_file_that_may_not_be_read,
    "a zip with `../` names": _a_zip_with_names_outside,
    "a broken zip": _a_broken_zip,
    "an `.npz` of floats": _an_npz_of_floats,
    "LMDB without its package": _lmdb_without_its_package,
}
ELSEWHERE = {"a worker that was killed"}  # test_batching: it needs a worker


@pytest.mark.parametrize("found", CASES)
def test_the_message_is_the_one_in_the_docs(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if found == "LMDB without its package":
        monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UnseenError) as caught:
        CASES[found]()
    assert str(caught.value) == MESSAGES[found]


def test_every_message_in_the_docs_has_its_test():
    assert MESSAGES.keys() == CASES.keys() | ELSEWHERE
