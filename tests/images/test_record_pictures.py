import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from unseen.core.errors import RecordError
from unseen.images.record_pictures import (
    picture_path,
    picture_size,
    read_label_map,
    read_picture,
    write_label_map,
    write_png,
)
from unseen.statistics.label_layers import layered


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "record"
    write_png(folder / "pictures/a.png", np.full((3, 4, 6), 7, np.uint8))
    write_label_map(folder / "pictures/a-labels.png", np.arange(24).reshape(4, 6) * 1000)
    (tmp_path / "secret.png").write_bytes((folder / "pictures/a.png").read_bytes())
    return folder


def test_pictures_and_label_maps_are_read_as_they_were_written(folder):
    assert picture_size(folder, "pictures/a.png") == (6, 4)
    assert (read_picture(folder, "pictures/a.png") == 7).all()
    labels = read_label_map(folder, "pictures/a-labels.png")
    assert (labels == np.arange(24).reshape(4, 6) * 1000).all()
    with pytest.raises(RecordError, match="no label map"):
        read_label_map(folder, "pictures/a-labels.png", 23_000)


def test_layers_are_read_as_they_were_written(folder):
    masks = np.zeros((1, 3, 2, 4), bool)
    masks[0, 0], masks[0, 2, :, 1:3] = True, True
    layers = layered(masks)[0]
    write_label_map(folder / "layers.png", layers)
    np.testing.assert_array_equal(read_label_map(folder, "layers.png", 3), layers)
    write_label_map(folder / "alone.png", layered(masks[:, :1])[0])
    assert read_label_map(folder, "alone.png").shape == (1, 2, 4)
    with pytest.raises(RecordError):
        read_label_map(folder, "layers.png", 2)


@pytest.mark.parametrize("count", ["0", "3", "many"])
def test_a_wrong_number_of_layers_is_refused(folder, count):
    said = PngImagePlugin.PngInfo()
    said.add_text("layers", count)
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "wrong.png", pnginfo=said)
    with pytest.raises(RecordError, match=r"wrong\.png"):
        read_label_map(folder, "wrong.png")


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "/etc/passwd",
        "../secret.png",
        "pictures/../../secret.png",
        "pictures//a.png",
        "./pictures/a.png",
        "..\\secret.png",
        "C:\\a.png",
        "http://example.org/a.png",
        "//example.org/a.png",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "%2e%2e/secret.png",
        "pictures/a.png?x",
        "pictures/a.png#x",
        "pictures/a\n.png",
        "pictures/a\0.png",
        "pictures/\ud800.png",
    ],
)
def test_paths_that_are_not_inside_the_folder_are_refused(folder, path):
    for read in (picture_path, picture_size, read_picture, read_label_map):
        with pytest.raises(RecordError) as caught:
            read(folder, path)
        assert "\n" not in str(caught.value)


def test_links_that_lead_out_are_refused_and_those_inside_are_not(folder):
    (folder / "out.png").symlink_to("../secret.png")
    (folder / "elsewhere").symlink_to("..")
    (folder / "in.png").symlink_to("pictures/a.png")
    (folder / "circle.png").symlink_to("circle.png")
    for path in ("out.png", "elsewhere/secret.png", "circle.png"):
        with pytest.raises(RecordError):
            picture_size(folder, path)
    assert picture_size(folder, "in.png") == (6, 4)


@pytest.mark.timeout(20)
def test_only_regular_files_of_three_formats_are_opened(folder):
    os.mkfifo(folder / "fifo.png")
    (folder / "folder.png").mkdir()
    (folder / "empty.png").touch()
    (folder / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    (folder / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Image.new("RGB", (4, 4)).save(folder / "a.bmp")
    Image.new("RGB", (4, 4)).save(folder / "bmp.png", format="BMP")
    Image.new("RGB", (4, 4)).save(folder / "a.tif")
    for name in (
        "fifo.png", "folder.png", "empty.png", "a.eps", "a.svg", "a.bmp", "bmp.png", "a.tif",
        "missing.png",
    ):  # fmt: skip
        for read in (picture_size, read_picture, read_label_map):
            with pytest.raises(RecordError, match=name):
                read(folder, name)
    for kind in ("png", "jpg", "webp"):
        Image.new("RGB", (4, 4)).save(folder / f"b.{kind}")
        assert read_picture(folder, f"b.{kind}").shape == (3, 4, 4)


def test_the_size_is_checked_before_anything_is_decoded(folder):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)  # 7.5 GB of pixels
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    for read in (picture_size, read_picture, read_label_map):
        with pytest.raises(RecordError, match=r"bomb\.png"):
            read(folder, "bomb.png")


def test_a_picture_that_is_cut_is_a_record_error(folder):
    whole = (folder / "pictures/a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) - 30])
    with pytest.raises(RecordError, match=r"cut\.png"):
        read_picture(folder, "cut.png")


def test_no_memory_is_not_called_a_broken_picture(folder, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", no_memory)
    monkeypatch.setattr(
        "unseen.images.record_pictures.rgb_array", lambda image, _: no_memory(image)
    )
    with pytest.raises(MemoryError):
        read_picture(folder, "pictures/a.png")
