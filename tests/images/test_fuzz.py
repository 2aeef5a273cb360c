"""Mutated files at every door: an image, or one error of one line. Longer with -m slow."""

import io
import random
import shutil
import zipfile

import lmdb
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from unseen.core.errors import ImageError, StorageError
from unseen.images import open_images
from unseen.images.decode import decode
from unseen.images.protocol import read_image

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")


def _encoded(picture, kind):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind == "BMP" else {"exif": exif, "icc_profile": bytes(range(200))}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("workflow", "{}" * 50, zip=True)
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def _mutated(content, chance):
    """The content with some bytes changed, cut away, doubled or put in."""
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(len(content) + 1)
        width = chance.choice((1, 2, 4, 8))
        match chance.randrange(5):
            case 0:
                content[place : place + width] = chance.randbytes(width)
            case 1:
                content[place : place + width] = chance.choice((b"\0", b"\xff")) * width
            case 2 if len(content) > 8:
                del content[place : place + chance.choice((width, 100))]
            case 3:
                content[place:place] = content[place : place + 64]
            case _ if content:
                content[place % len(content)] ^= 1 << chance.randrange(8)
    return bytes(content)


def _check(name, read):
    """Whether there is an image; else there is one error of one line."""
    try:
        image = read()
    except (ImageError, StorageError) as error:
        assert "\n" not in str(error), name  # noqa: PT017
        return False
    assert image.dtype == np.uint8
    assert image.shape[0] == 3
    return True


def _read_all(path):
    """Open a set and read every image of it; how many there are."""
    try:
        source = open_images(path)
    except (ImageError, StorageError) as error:
        assert "\n" not in str(error)  # noqa: PT017
        return 0
    return sum(
        _check(path, lambda index=index: read_image(source, index))
        for index in range(min(len(source.names), 8))
    )


def _write_zip(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, kind in enumerate(KINDS[:4]):
            archive.writestr(f"a/{index}.{kind.lower()}", _encoded(PICTURES[index], kind))
        archive.writestr("dataset.json", "{}")


def _write_npz(path):
    np.savez_compressed(path, images=PICTURES, labels=np.arange(4))


def _write_stored_npz(path):
    np.savez(path, images=PICTURES)


def _write_lmdb(path):
    shutil.rmtree(path, ignore_errors=True)
    with lmdb.open(str(path), map_size=1 << 22) as environment, environment.begin(write=True) as t:
        for index in range(60):
            picture = _encoded(np.tile(PICTURES[index % 4], (1 + index % 8, 3, 1)), "PNG")
            t.put(f"{index:040x}".encode(), picture)


DOORS = {"zip": _write_zip, "npz": _write_npz, "stored npz": _write_stored_npz}


def _fuzz_decode(rounds):
    chance = random.Random(0)
    contents = [_encoded(PICTURES[0], kind) for kind in KINDS]
    whole = 0
    for round_ in range(rounds):
        content = _mutated(contents[round_ % len(KINDS)], chance)
        whole += _check(round_, lambda content=content: decode(io.BytesIO(content), "a.png"))
    assert 0 < whole < rounds


def _fuzz_archive(folder, kind, rounds):
    chance = random.Random(kind)
    path = folder / f"images.{kind[-3:]}"
    DOORS[kind](path)
    content = path.read_bytes()
    for _ in range(rounds):
        path.write_bytes(_mutated(content, chance))
        _read_all(path)


def _fuzz_lmdb(folder, rounds):
    chance = random.Random(1)
    _write_lmdb(folder / "l")
    file = folder / "l" / "data.mdb"
    content = file.read_bytes()[: 64 * 4096]  # pages that are in use
    rest = file.read_bytes()[64 * 4096 :]
    for _ in range(rounds):
        file.write_bytes(_mutated(content, chance)[: len(content)].ljust(len(content)) + rest)
        _read_all(folder / "l")


def _fuzz_folder(folder, rounds):
    chance = random.Random(2)
    contents = [_encoded(PICTURES[0], kind) for kind in KINDS]
    endings = (".png", ".jpg", ".webp", ".bmp", ".tif", ".jfif", ".dat", "")
    for round_ in range(rounds):
        name = bytes(chance.choice(b"abc \n\t\x1b\xff\xc3\xa9'\"*?") for _ in range(6))
        file = folder / f"{round_ % 40}"
        file.mkdir(exist_ok=True)
        content = _mutated(contents[round_ % len(KINDS)], chance)
        ending = endings[chance.randrange(len(endings))]
        (file / (name.decode("utf-8", "surrogateescape") + ending)).write_bytes(content)
    return _read_all(folder)


pytestmark = pytest.mark.filterwarnings("ignore:.*left out")


def test_images():
    _fuzz_decode(1500)


@pytest.mark.parametrize("kind", DOORS)
def test_archives(tmp_path, kind):
    _fuzz_archive(tmp_path, kind, 150)


def test_databases(tmp_path):
    _fuzz_lmdb(tmp_path, 6)


def test_folders(tmp_path):
    _fuzz_folder(tmp_path, 100)


@pytest.mark.slow
def test_images_longer():
    _fuzz_decode(100_000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOORS)
def test_archives_longer(tmp_path, kind):
    _fuzz_archive(tmp_path, kind, 10_000)


@pytest.mark.slow
def test_databases_longer(tmp_path):
    _fuzz_lmdb(tmp_path, 300)
