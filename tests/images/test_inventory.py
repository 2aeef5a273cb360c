"""What is an image of a set, what is left out, and that it is said."""

import errno
import io
import os
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.core.errors import ImageError, SpecError
from unseen.distribution.segment import segment
from unseen.images import left_out, open_images

PICTURE = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


def _encoded(kind):
    file = io.BytesIO()
    PICTURE.save(file, kind)
    return file.getvalue()


def _put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded("PNG") if content is None else content)


def _counts(source):
    return {reason: group["count"] for reason, group in left_out(source).items()}


def _packed(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, str(file.relative_to(folder)))
    return path


@pytest.fixture(params=["folder", "zip"])
def opened(request, tmp_path):
    """Opens a folder as it is, or packed into a zip file."""

    def open_it(folder):
        if request.param == "zip":
            folder = _packed(folder, tmp_path / "packed.zip")
        return open_images(folder)

    return open_it


def test_images_under_other_endings_are_known_by_their_content(tmp_path, opened):
    photos = tmp_path / "photos"
    for name, kind in [
        ("a.jfif", "JPEG"),
        ("b.jpg_large", "JPEG"),
        ("c", "PNG"),
        ("d.img", "WEBP"),
        ("e.dib", "BMP"),
        ("f.scan", "TIFF"),
    ]:
        _put(photos / name, _encoded(kind))
    source = opened(photos)
    assert list(source.names) == ["a.jfif", "b.jpg_large", "c", "d.img", "e.dib", "f.scan"]
    assert left_out(source) == {}
    assert all(source.read(index).shape == (3, 4, 4) for index in range(6))


def test_what_is_left_out_is_counted_by_its_ending_and_said_in_one_line(tmp_path, opened):
    photos = tmp_path / "photos"
    _put(photos / "a.png")
    for index in range(3):
        _put(photos / f"sub/{index}.gif", _encoded("GIF"))
    _put(photos / "raw.cr2", _encoded("TIFF"))
    _put(photos / "b.heic", b"\0\0\0\x18ftypheic")
    _put(photos / "half.jpg.part", _encoded("JPEG"))
    _put(photos / "BM", b"BM is not always a bitmap")
    with pytest.warns(match=r"1 image; left out: 3 \.gif") as said:
        source = opened(photos)
    assert len(said) == 1
    assert _counts(source) == {
        ".gif": 3,
        ".cr2": 1,
        ".heic": 1,
        ".part": 1,
        "without an ending": 1,
    }
    assert left_out(source)[".gif"]["names"] == ["sub/0.gif", "sub/1.gif", "sub/2.gif"]


@pytest.mark.parametrize(
    "record",
    [
        ("comparison.json", b"{}"),
        ("evidence.json", b"{}"),
        ("inversions.json", b"{}"),
        ("about.json", b'{"schema": "label_maps", "class_names": []}'),
        ("pictures/about.json", b'{"schema": "pictures"}'),
        ("areas/real.parquet", b""),
        ("areas/real.parquet.parts/0.parquet", b""),
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_what_unseen_wrote_is_left_out(tmp_path, opened, record):
    photos = tmp_path / "photos"
    _put(photos / "a.png")
    _put(photos / "mine/about.json", b'{"schema": "mine"}')
    _put(photos / "mine/b.png")
    name, content = record
    _put(photos / "runs" / "one" / name, content)
    _put(photos / "runs" / "one" / "pictures" / "00000.png")
    if name != "pictures/about.json":
        _put(photos / "runs" / "one" / "figure.png")
    source = opened(photos)
    assert list(source.names) == ["a.png", "mine/b.png"]
    assert "b.png" not in left_out(source)["written by unseen"]["names"]
    if name != "pictures/about.json":
        with pytest.raises(ImageError, match="written by unseen"):
            open_images(photos / "runs" / "one")
    # A folder that is named itself is what the user wants.
    assert len(open_images(photos / "runs" / "one" / "pictures").names) == 1


@pytest.mark.filterwarnings("ignore:.*left out")
def test_sheets_of_samples_and_label_maps_beside_pictures_are_left_out(tmp_path, opened):
    photos = tmp_path / "photos"
    _put(photos / "sample.json", b"{}")
    _put(photos / "grid.png")
    _put(photos / "00000000.png")
    _put(photos / "real/00001.jpg", _encoded("JPEG"))
    _put(photos / "real/00001-labels.png")
    _put(photos / "real/00002-labels.png")  # of no picture: a name like any other
    _put(photos / "world/label-maps/churchyard-seed0-000000.png")
    source = opened(photos)
    assert list(source.names) == ["00000000.png", "real/00001.jpg", "real/00002-labels.png"]
    assert _counts(source) == {"companion of a set": 1, "written by unseen": 3}


@pytest.mark.filterwarnings("ignore:.*left out")
def test_pipes_sockets_and_devices_are_left_out(tmp_path):
    _put(tmp_path / "a.png")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.png"))
        source = open_images(tmp_path)
        assert list(source.names) == ["a.png", "loop.png"]
        assert _counts(source) == {"no regular file": 4}
        assert len(source.fingerprint()) == 64
        with pytest.raises(ImageError, match=r"loop\.png cannot be read"):
            source.read(1)


def test_a_file_that_becomes_a_pipe_is_an_error_and_no_standstill(tmp_path):
    _put(tmp_path / "a.png")
    source = open_images(tmp_path)
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png cannot be read \(it is no regular file\)"):
        source.read(0)
    assert len(source.fingerprint()) == 64


@pytest.mark.timeout(60)
def test_folders_that_link_to_one_another_are_walked_once(tmp_path):
    places = [tmp_path / str(k) for k in range(9)]
    for place in places:
        _put(place / "a.png")
    for place in places:
        for other in places:
            (place / f"to-{other.name}").symlink_to(other)
    with pytest.warns(match=r"9 images; left out: 81 reached twice"):
        source = open_images(tmp_path)
    assert list(source.names) == [f"{k}/a.png" for k in range(9)]


def test_links_in_a_zip_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", _encoded("PNG"))
        link = zipfile.ZipInfo("b.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.warns(match=r"left out: 1 no regular file \(b\.png\)"):
        assert list(open_images(tmp_path / "a.zip").names) == ["a.png"]


def test_arrays_and_files_beside_a_database_are_said_too(tmp_path):
    import lmdb

    images = np.zeros((2, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(2), masks=images[..., 0])
    with pytest.warns(match=r"2 images; left out: 2 array"):
        open_images(tmp_path / "a.npz")
    with lmdb.open(str(tmp_path / "l")) as environment, environment.begin(write=True) as t:
        t.put(b"a", _encoded("PNG"))
    _put(tmp_path / "l" / "b.png")
    with pytest.warns(match=r"1 image; left out: 1 beside the database \(b\.png\)"):
        assert list(open_images(tmp_path / "l").names) == ["a"]


def test_a_place_without_images_says_what_it_holds(tmp_path):
    with pytest.raises(ImageError, match="is empty"):
        open_images(tmp_path)
    for name in ("a.mp4", "b.mp4", "c.txt"):
        _put(tmp_path / "videos" / name, b"")
    with pytest.raises(ImageError, match=r"holds no images, but 2 \.mp4, 1 \.txt"):
        open_images(tmp_path / "videos")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("photos", ImageError),
        ("flickr:cats", SpecError),
        ("folder:photos?colour=1", SpecError),
        ("http://example.org/photos", SpecError),
        ("https://example.org/a.png", SpecError),
        ("notes.txt", ImageError),
        ("", SpecError),
    ],
)
def test_what_names_no_set_is_refused_by_its_name(text, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _put(tmp_path / "notes.txt", b"text")
    with pytest.raises(error) as refused:
        open_images(text)
    assert text.partition("?")[0] in str(refused.value)


def test_a_subfolder_that_cannot_be_read_stops_or_is_listed(tmp_path, monkeypatch):
    _put(tmp_path / "a.png")
    _put(tmp_path / "shut" / "b.png")
    listing = os.scandir

    def refused(place):
        if Path(place).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listing(place)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ImageError, match="shut"):
        open_images(tmp_path)
    with pytest.raises(ImageError, match="shut"):
        segment(tmp_path, "churchyard", workers=0)
    with pytest.warns(UserWarning, match="shut"):
        areas = segment(tmp_path, "churchyard", workers=0, skip_broken=True)
    assert list(areas.names) == ["a.png"]
    reason = {"folder that cannot be read": {"count": 1, "names": ["shut/"]}}
    assert areas.provenance["images"][0]["left_out"] == reason
    monkeypatch.setattr(os, "scandir", lambda _: refused(tmp_path / "shut"))
    with pytest.raises(ImageError, match="Permission denied"):
        open_images(tmp_path, skip_broken=True)
