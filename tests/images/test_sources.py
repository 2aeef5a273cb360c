import io
import os
import pickle
import sys
import tarfile
import zipfile

import lmdb
import numpy as np
import pytest
from PIL import Image

from unseen.core.errors import ImageError, MissingExtraError, SpecError, StorageError
from unseen.images import ImageSource, Preparation, batches, keys, left_out, open_images

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)


def _png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _make_folder(path):
    for index, picture in enumerate(PICTURES):
        _put(path / f"{index}.png", _png(picture))


def _make_zip(path, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("dataset.json", '{"labels": null}')
        for index, picture in enumerate(PICTURES):
            archive.writestr(f"00000/img{index:08d}.png", _png(picture))


def _make_lmdb(path):
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as t:
        for index, picture in enumerate(PICTURES):
            t.put(f"{index:040x}".encode(), _png(picture))


def _make_tar(path):
    with tarfile.open(path, "w") as archive:
        for index, picture in enumerate(PICTURES):
            member = tarfile.TarInfo(f"{index}.png")
            content = _png(picture)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _make(kind, folder):
    path = folder / {"folder": "photos", "lmdb": "church_lmdb"}.get(
        kind, f"images.{'tar' if kind == 'webdataset' else kind[:3]}"
    )
    if kind == "folder":
        _make_folder(path)
    elif kind == "zip":
        _make_zip(path)
    elif kind == "lmdb":
        _make_lmdb(path)
    elif kind == "webdataset":
        _make_tar(path)
    elif kind == "npz":
        np.savez(path, PICTURES)
    elif kind == "npz compressed":
        np.savez_compressed(path, images=PICTURES)
    elif kind == "npz channels first":
        np.savez(path, PICTURES.transpose(0, 3, 1, 2))
    elif kind == "npz fortran":
        np.savez(path, np.asfortranarray(PICTURES))
    return path


KINDS = [
    "folder",
    "zip",
    "lmdb",
    "webdataset",
    "npz",
    "npz compressed",
    "npz channels first",
    "npz fortran",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_path_is_told_by_what_it_holds_and_read_here_and_in_workers(kind, tmp_path):
    path = _make(kind, tmp_path)
    source = open_images(path)
    assert isinstance(source, ImageSource)
    assert source.spec == f"{kind.partition(' ')[0]}:{path}"
    assert not source.endless
    assert len(source.names) == len(set(source.names)) == 5
    for index, picture in enumerate(PICTURES):
        np.testing.assert_array_equal(source.read(index), picture.transpose(2, 0, 1))
    for workers in (0, 1):
        (batch,) = batches(
            source, [4, 0], Preparation(6), batch_size=2, workers=workers, skip_broken=False
        )
        np.testing.assert_array_equal(
            batch.images, [Preparation(6).apply(source.read(index)) for index in (4, 0)]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_its_spec_opens_the_same_set_again(kind, tmp_path):
    source = open_images(_make(kind, tmp_path))
    again = open_images(source.spec)
    assert list(again.names) == list(source.names)
    assert again.fingerprint() == source.fingerprint()
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.names) == list(source.names)
    np.testing.assert_array_equal(copy.read(3), source.read(3))


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_follows_the_content_and_not_the_name(kind, tmp_path):
    path = _make(kind, tmp_path)
    before = open_images(path).fingerprint()
    (tmp_path / "moved").mkdir()
    moved = path.rename(tmp_path / "moved" / path.name)
    assert open_images(moved).fingerprint() == before
    file = {"folder": moved / "2.png", "lmdb": moved / "data.mdb"}.get(kind, moved)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    source = open_images(moved)
    file.write_bytes(content)
    assert source.fingerprint() != before


def test_a_renamed_image_changes_the_fingerprint(tmp_path):
    _make_folder(tmp_path)
    before = open_images(tmp_path).fingerprint()
    (tmp_path / "4.png").rename(tmp_path / "5.png")
    assert open_images(tmp_path).fingerprint() != before


# ------------------------------------------------------------------------------------- folders


def _authors_order(root):
    """The index order of the 2019 code: walked directories sorted by path, then names."""
    return [
        os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118
        for folder, _, names in sorted(os.walk(root))
        for name in sorted(names)
    ]


def test_the_order_is_sorted_directories_then_sorted_names(tmp_path):
    names = [
        "b/1.png",
        "b/10.png",
        "b/2.png",
        "a/x/z.jpg",
        "a b/c.png",
        "a/y.png",
        "z.png",
        "B/0.png",
    ]
    for name in names:
        _put(tmp_path / name)
    found = list(open_images(tmp_path).names)
    assert found == _authors_order(tmp_path)
    assert found == ["z.png", "B/0.png", "a/y.png", "a b/c.png", "a/x/z.jpg", *sorted(names[:3])]


def test_every_extension_counts_whatever_its_case(tmp_path):
    names = ["a.PNG", "b.jpg", "c.JPEG", "d.webp", "e.bmp", "f.tif", "g.Tiff"]
    for name in [*names, "notes.txt", ".hidden.png", "._a.png", ".thumbnails/a.png", "x.gif"]:
        _put(tmp_path / name)
    _put(tmp_path / "__MACOSX" / "a.png")
    with pytest.warns(match=r"7 images; left out: 1 \.gif, 1 \.txt"):
        source = open_images(tmp_path)
    assert list(source.names) == names
    assert {reason: group["count"] for reason, group in left_out(source).items()} == {
        ".gif": 1,
        ".txt": 1,
        "hidden": 4,
    }


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    _put(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "circle").symlink_to(tmp_path / "set")
    with pytest.warns(match=r"left out: 1 reached twice \(circle/\)"):
        assert list(open_images(tmp_path / "set").names) == ["linked/a.png"]


def test_a_link_that_leads_nowhere_is_a_broken_image_not_a_missing_one(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    source = open_images(tmp_path)
    with pytest.raises(ImageError, match=r"a\.png cannot be read \(No such file"):
        source.read(0)
    lost = source.fingerprint()  # the run decides whether to skip it
    _put(tmp_path / "gone.png", _png(PICTURES[0]))
    assert source.fingerprint() != lost


@pytest.mark.skipif(sys.platform == "darwin", reason="this file system allows only UTF-8")
def test_a_name_that_is_not_utf_8_is_written_in_hexadecimal(tmp_path):
    _put(tmp_path / os.fsdecode(b"\xff.png"), _png(PICTURES[0]))
    _put(tmp_path / "e\u0301.png", _png(PICTURES[1]))  # é in two forms: two files on most disks
    _put(tmp_path / "\u00e9.png", _png(PICTURES[2]))
    source = open_images(tmp_path)
    assert list(source.names) == [r"\xff.png", "e\u0301.png", "\u00e9.png"]
    for index in range(3):
        np.testing.assert_array_equal(source.read(index), PICTURES[index].transpose(2, 0, 1))
    assert len(source.fingerprint()) == 64
    _put(tmp_path / r"\xff.png", _png(PICTURES[0]))
    with pytest.raises(ImageError, match="two files"):
        open_images(tmp_path)


def test_one_image_is_a_set_too(tmp_path):
    _put(tmp_path / "a.png", _png(PICTURES[0]))
    assert open_images(tmp_path).read(0).shape == (3, 6, 7)


# ------------------------------------------------------------------------------------ archives


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../b.png", "..\\b.png", "C:\\b.png"]
)
def test_a_zip_that_points_outside_of_itself_is_refused(tmp_path, name):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fine.png", _png(PICTURES[0]))
        archive.writestr(name, b"")
    with pytest.raises(ImageError, match="points outside of it"):
        open_images(path)


def test_a_zip_is_told_by_its_content_too(tmp_path):
    _make_zip(tmp_path / "a.zip")
    (tmp_path / "a.zip").rename(tmp_path / "archive")
    assert open_images(tmp_path / "archive").spec.startswith("zip:")


def test_a_broken_entry_of_a_zip_is_named(tmp_path):
    path = tmp_path / "a.zip"
    _make_zip(path, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    place = content.index(_png(PICTURES[1]))
    content[place + 30] ^= 255
    path.write_bytes(content)
    source = open_images(path)
    source.read(0)
    with pytest.raises(
        ImageError, match=r"a\.zip: 00000/img00000001\.png cannot be unpacked .*Bad CRC"
    ):
        source.read(1)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")
    with pytest.raises(ImageError, match=r"holds 'a\.png' twice"):
        open_images(tmp_path / "a.zip")


def test_lmdb_may_be_open_twice_and_names_its_keys(tmp_path):
    _make_lmdb(tmp_path / "l")
    first, second = open_images(tmp_path / "l"), open_images(tmp_path / "l")
    assert first.names[4] == f"{4:040x}"
    assert list(second.names[1:3]) == [f"{1:040x}", f"{2:040x}"]
    np.testing.assert_array_equal(first.read(0), second.read(0))


def test_the_keys_of_a_large_lmdb_are_listed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keys, "_WORTH_KEEPING", 2)
    _make_lmdb(tmp_path / "l")
    names = list(open_images(tmp_path / "l").names)
    pack = keys._unpacked
    monkeypatch.setattr(keys, "_unpacked", lambda _: pytest.fail("listed again"))
    again = open_images(tmp_path / "l")
    assert list(again.names) == names
    np.testing.assert_array_equal(again.read(4), PICTURES[4].transpose(2, 0, 1))
    assert len(pickle.dumps(again)) < 1000  # the keys stay where they are
    monkeypatch.setattr(keys, "_unpacked", pack)
    (kept,) = (tmp_path / "cache").rglob("*.keys")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert list(open_images(tmp_path / "l").names) == names


def test_a_kept_list_is_used_only_for_the_database_it_was_made_from(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keys, "_WORTH_KEEPING", 2)
    _make_lmdb(tmp_path / "l")
    open_images(tmp_path / "l")
    (tmp_path / "l").rename(tmp_path / "old")
    with (
        lmdb.open(str(tmp_path / "l"), map_size=1 << 24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for name in (b"a", b"bb", b"c", b"d", b"e"):
            transaction.put(name, _png(PICTURES[0]))
    assert list(open_images(tmp_path / "l").names) == ["a", "bb", "c", "d", "e"]


def test_without_a_cache_the_keys_are_listed_each_time(tmp_path, monkeypatch):
    _put(tmp_path / "file")
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(keys, "_WORTH_KEEPING", 2)
    _make_lmdb(tmp_path / "l")
    assert len(open_images(tmp_path / "l").names) == 5


def test_lmdb_says_which_extra_it_needs(tmp_path, monkeypatch):
    _put(tmp_path / "data.mdb")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match="pip install lmdb"):
        open_images(tmp_path)


def test_a_broken_lmdb_is_named(tmp_path):
    _put(tmp_path / "data.mdb", b"nothing of the kind")
    with pytest.raises(ImageError, match="cannot be opened as an LMDB database"):
        open_images(tmp_path)


def test_a_truncated_lmdb_is_an_error_and_not_the_end_of_the_process(tmp_path):
    _make_lmdb(tmp_path / "l")
    file = tmp_path / "l" / "data.mdb"
    file.write_bytes(file.read_bytes()[: 2 * 4096])  # the two pages that describe the rest
    with pytest.raises(ImageError, match=r"is truncated: data\.mdb has 8,192 bytes of"):
        open_images(tmp_path / "l")


def test_a_compressed_npz_leaves_nothing_behind(tmp_path, monkeypatch):
    path = _make("npz compressed", tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    source = open_images(path)
    copy = pickle.loads(pickle.dumps(source))
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    del copy
    source.read(0)
    del source
    assert list((tmp_path / "temporary").iterdir()) == []
    monkeypatch.setattr("shutil.copyfileobj", _disk_full)
    with pytest.raises(StorageError, match="No space left on device"):
        open_images(path)
    assert list((tmp_path / "temporary").iterdir()) == []


def _disk_full(*_):
    raise OSError(28, "No space left on device")


def test_an_npz_without_images_says_what_it_holds(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((2, 4, 4, 3), np.float32), y=np.zeros(2, np.uint8))
    with pytest.raises(
        ImageError, match=r"x float32 \(2, 4, 4, 3\), y uint8 \(2,\); needed is a uint8"
    ):
        open_images(path)
    np.savez(path, x=np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(ImageError, match="is empty"):
        open_images(path)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ImageError, match="needed is a uint8 array"):
        open_images(path)
    path.write_bytes(b"text")
    with pytest.raises(ImageError, match=r"cannot be opened as an \.npz file"):
        open_images(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(ImageError, match=r"x\.npy is not a readable array"):
        open_images(path)


def test_of_several_arrays_one_is_chosen_by_its_key(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=PICTURES, y=PICTURES[:2])
    with pytest.raises(
        ImageError, match=r"holds 2 arrays of images \(x, y\); choose one: npz:.*key=x"
    ):
        open_images(path)
    assert len(open_images(f"npz:{path}?key=y").names) == 2
    with pytest.raises(ImageError, match="has no array 'z'"):
        open_images(f"npz:{path}?key=z")


# ------------------------------------------------------------------------------ python sources


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("my_images", None)

    def write(text):
        sys.modules.pop("my_images", None)
        (tmp_path / "my_images.py").write_text("import numpy as np\nfrom PIL import Image\n" + text)
        import importlib

        importlib.invalidate_caches()

    yield write
    sys.modules.pop("my_images", None)


def test_any_object_with_a_length_and_items_is_a_source(module):
    module(
        "def make(value='7'):\n"
        "    v = int(value)\n"
        "    return [np.full((4, 5, 3), v, np.uint8), np.full((3, 4, 5), v, np.uint8),\n"
        "            np.full((4, 5), v, np.uint8), Image.new('L', (5, 4), v)]\n"
    )
    source = open_images("python:my_images:make?value=9")
    assert list(source.names) == ["000000", "000001", "000002", "000003"]
    for workers in (0, 1):
        (batch,) = batches(source, range(4), Preparation(4), batch_size=4, workers=workers)
        assert (batch.images == 9).all()
    assert source.fingerprint() == open_images("python:my_images:make?value=9").fingerprint()
    assert source.fingerprint() != open_images("python:my_images:make").fingerprint()


def test_a_factory_may_return_names_or_a_whole_source(module, tmp_path):
    _make_folder(tmp_path / "photos")
    module(
        "from unseen.images import open_images\n"
        "class Mine(list):\n"
        "    names = ['x', 'y']\n"
        "def named():\n"
        "    return Mine([np.zeros((2, 2), np.uint8)] * 2)\n"
        "def whole():\n"
        "    return open_images('photos')\n"
    )
    assert list(open_images("python:my_images:named").names) == ["x", "y"]
    assert len(open_images("python:my_images:whole").names) == 5


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("make = 3", SpecError, "has no function 'make'"),
        ("import nonsense_module", ImageError, "my_images needs 'nonsense_module', which is miss"),
        ("def make(seed): return []", SpecError, r"make needs seed; write .*:make\?seed=VALUE"),
        ("def make(): return iter([])", ImageError, "no length and no items"),
        ("def make(): return []", ImageError, "holds no images"),
        (
            "class M(list):\n    names = ['a', 'a']\ndef make(): return M([1, 2])",
            ImageError,
            "2 images and 1 different names",
        ),
    ],
)
def test_an_unusable_factory_is_said_so(module, text, error, message):
    module(text + "\n")
    with pytest.raises(error, match=message):
        open_images("python:my_images:make")


def test_a_factory_is_named_in_full():
    with pytest.raises(SpecError, match="names no factory; write python:MODULE:FACTORY"):
        open_images("python:my_images")
    with pytest.raises(SpecError, match="unknown option"):
        open_images("folder:x?y=1")
