"""What is wrong with images is one line that names them."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.core.errors import UnseenError
from unseen.images import open_images, subset


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


CASES = {  # what is wrong → what its line names
    _a_path_that_is_not_there: "photos",
    _an_empty_folder: "empty",
    _a_folder_without_images: "2 .mp4",
    _a_file_that_holds_no_set: "notes.txt",
    _an_unknown_spec: "flickr:cats",
    _an_unknown_option: "colour",
    _fewer_images_than_asked_for: "1,000",
    _all_of_an_endless_set: "churchyard?seed=1",
    _a_truncated_jpeg: "set/cut.jpg",
    _an_empty_file: "set/empty.png",
    _a_text_file_named_png: "just some text",
    _a_bomb_of_100_megapixels: "100.0 megapixels",
    _a_floating_point_tiff: "set/float.tif",
    _a_file_that_may_not_be_read: "set/gone.png",
    _a_zip_with_names_outside: "../evil.png",
    _a_broken_zip: "broken.zip",
    _an_npz_of_floats: "float32",
    _lmdb_without_its_package: "pip install lmdb",
}


@pytest.mark.parametrize("wrong", CASES, ids=lambda case: case.__name__)
def test_what_is_wrong_is_one_line_that_names_it(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if wrong is _lmdb_without_its_package:
        monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UnseenError) as caught:
        wrong()
    assert CASES[wrong] in str(caught.value)
    assert "\n" not in str(caught.value)
