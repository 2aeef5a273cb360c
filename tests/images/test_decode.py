import io
import os
import struct
import subprocess
import sys
import textwrap
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from unseen.core.errors import ImageError, OutOfMemoryError
from unseen.images import decode as module
from unseen.images.decode import decode, rgb_array

NOISE = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


def _encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _decode(content, name="a.png"):
    return np.moveaxis(decode(io.BytesIO(content), name), 0, -1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_come_back_as_they_were(kind, options):
    np.testing.assert_array_equal(_decode(_encode(Image.fromarray(NOISE), kind, **options)), NOISE)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}])
@pytest.mark.parametrize("more", [{}, {"progressive": True}, {"quality": 30}])
@pytest.mark.parametrize("picture", [NOISE, NOISE.repeat(9, 0).repeat(13, 1), NOISE[..., 0]])
def test_jpeg_comes_back_as_pillow_decodes_it(options, more, picture):
    content = _encode(Image.fromarray(picture), "JPEG", **options, **more)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(_decode(content), expected)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 20), st.integers(0, 255), st.booleans())
def test_a_damaged_jpeg_is_what_it_is_without_the_faster_decoder(place, value, cut):
    content = bytearray(_encode(Image.fromarray(NOISE.repeat(5, 0)), "JPEG"))
    place %= len(content)
    content[place] = value
    damaged = bytes(content[:place] if cut else content)
    results = []
    for decoder in (module._turbo, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_turbo", decoder)
            try:
                results.append(_decode(damaged))
            except ImageError as error:
                results.append(str(error))
    np.testing.assert_array_equal(*results)


def test_grey_and_one_bit_are_the_value_three_times():
    grey = Image.fromarray(NOISE[:, :, 0])
    np.testing.assert_array_equal(
        _decode(_encode(grey, "PNG")), np.repeat(NOISE[:, :, :1], 3, axis=2)
    )
    bits = Image.fromarray(NOISE[:, :, 0] > 127)
    assert bits.mode == "1"
    expected = np.repeat(((NOISE[:, :, :1] > 127) * 255).astype(np.uint8), 3, axis=2)
    np.testing.assert_array_equal(_decode(_encode(bits, "PNG")), expected)


def test_a_palette_is_its_colours():
    picture = Image.fromarray(NOISE).quantize(8)
    np.testing.assert_array_equal(
        _decode(_encode(picture, "PNG")), np.asarray(picture.convert("RGB"))
    )


def test_alpha_is_composed_over_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = (255, 0, 51)  # black: opaque, invisible, one fifth
    found = _decode(_encode(Image.fromarray(rgba), "PNG"))
    assert found[0, :, 0].tolist() == [0, 255, 204]


def test_an_opaque_alpha_changes_nothing():
    rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(_decode(_encode(Image.fromarray(rgba), "PNG")), NOISE)


def test_transparency_of_a_palette_and_of_a_key_colour_is_alpha_too():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    found = _decode(_encode(palette, "PNG", transparency=1))
    assert found[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    key = Image.new("RGB", (1, 1), (1, 2, 3))
    assert _decode(_encode(key, "PNG", transparency=(1, 2, 3)))[0, 0].tolist() == [255, 255, 255]
    grey = Image.fromarray(np.array([[0, 0]], np.uint8)).convert("LA")
    grey.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    assert _decode(_encode(grey, "PNG"))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_the_plain_formula(kind):
    colour = Image.new("CMYK", (16, 16), (0, 128, 255, 51))
    found = _decode(_encode(colour, kind, **({"quality": 100} if kind == "JPEG" else {})))
    # (255 − c)(255 − k) / 255; JPEG's own rounding is at most two levels on a flat picture
    assert np.abs(found[8, 8].astype(int) - [204, 102, 0]).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind):
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    found = _decode(_encode(Image.fromarray(values), kind))
    # round(v / 257): 128/257 = 0.498, 129/257 = 0.502
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_sixteen_bit_colour_is_within_one_level_of_the_scaled_value():
    values = np.random.default_rng(1).integers(0, 65536, (4, 4, 3)).astype(">u2")

    rows = b"".join(b"\0" + row.tobytes() for row in values)
    content = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )
    assert np.abs(_decode(content).astype(float) - values / 257).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_turned_upright_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(NOISE)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = _encode(picture, kind, exif=exif, **options)
    plain = np.asarray(Image.open(io.BytesIO(_encode(picture, kind, **options))).convert("RGB"))
    tagged = Image.fromarray(plain)
    tagged.info["exif"] = exif.tobytes()
    expected = np.asarray(ImageOps.exif_transpose(tagged))
    assert expected.shape == ((7, 5, 3) if orientation < 5 else (5, 7, 3))
    np.testing.assert_array_equal(_decode(content), expected)


def test_sixteen_bit_grey_is_turned_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _encode(Image.fromarray(np.zeros((7, 5), np.uint16)), "PNG", exif=exif)
    assert _decode(content).shape == (5, 7, 3)


def test_damaged_exif_does_not_lose_the_picture():
    content = _encode(Image.fromarray(NOISE), "PNG", exif=b"Exif\0\0garbage")
    np.testing.assert_array_equal(_decode(content), NOISE)


def test_of_several_frames_the_first_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind, options in (("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})):
        content = _encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert _decode(content)[0, 0].tolist() == [255, 0, 0]


def test_floating_point_and_wide_pixels_are_refused():
    wide = Image.fromarray(np.zeros((2, 2), np.float32))
    with pytest.raises(ImageError, match=r"a\.tif has floating-point pixels, whose range"):
        _decode(_encode(wide, "TIFF"), "a.tif")
    wide = Image.fromarray(np.zeros((2, 2), np.int32))
    with pytest.raises(ImageError, match=r"a\.tif has 32-bit whole-number pixels"):
        _decode(_encode(wide, "TIFF"), "a.tif")


def test_other_formats_are_refused_even_where_pillow_reads_them():
    with pytest.raises(ImageError, match=r"a\.png is no PNG, JPEG, WebP, BMP or TIFF"):
        _decode(_encode(Image.fromarray(NOISE), "GIF"))
    # PostScript would start another program.
    with pytest.raises(ImageError, match="begins with b'%!PS-Adobe"):
        _decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def test_an_empty_file_is_said_to_be_empty():
    with pytest.raises(ImageError, match=r"a\.png is empty \(0 bytes\)"):
        _decode(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_file_is_an_error_with_its_name(kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = _encode(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=r"a\.png is (truncated|damaged|no PNG)"):
        _decode(content[: len(content) * 2 // 3])


def test_a_bomb_is_refused_by_its_header_alone():
    bomb = _encode(Image.new("1", (10_000, 10_000)), "PNG")
    message = r"a\.png has 100\.0 megapixels \(10000 × 10000\); at most 64"
    with pytest.raises(ImageError, match=message):
        _decode(bomb)
    with pytest.raises(ImageError, match=message):
        _decode(bomb[:200])  # nothing but the header is needed for it
    larger = _encode(Image.new("1", (16_384, 16_384)), "PNG")
    with pytest.raises(ImageError, match=r"far larger than the 64 megapixels"):
        _decode(larger)


def test_a_pillow_image_of_another_library_follows_the_same_rule():
    assert rgb_array(Image.new("LA", (2, 2), (0, 0)), "mine")[:, 0, 0].tolist() == [255] * 3


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]),
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    length=st.floats(0.1, 1),
)
def test_damaged_bytes_give_an_image_or_an_image_error_and_no_warning(kind, place, value, length):
    content = bytearray(_encode(Image.fromarray(NOISE), kind))
    content[int(place * len(content))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = decode(io.BytesIO(bytes(content[: int(length * len(content))])), "a")
        except ImageError as error:
            assert str(error).startswith("a ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found.dtype == np.uint8
            assert found.shape[0] == 3


# ------------------------------------------------------------- what stands beside the pixels


def _chunk(kind, body, crc=None):
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _png_with(*chunks):
    content = _encode(Image.fromarray(NOISE), "PNG")
    return content[:33] + b"".join(chunks) + content[33:]  # behind the header


_EXIF = Image.Exif()
_EXIF[0x0112] = 6
_TURNED = _chunk(b"eXIf", _EXIF.tobytes().removeprefix(b"Exif\0\0"))
LONG = zlib.compress(b"x" * (3 << 20))
PNG_NOTES = {
    "a compressed text": _chunk(b"zTXt", b"workflow\0\0" + LONG),
    "an international text": _chunk(b"iTXt", b"workflow\0\1\0\0\0" + LONG),
    "a plain text": _chunk(b"tEXt", b"workflow\0" + b"x" * (3 << 20)),
    "many texts": b"".join(_chunk(b"tEXt", b"a%d\0" % k + b"x" * (1 << 20)) for k in range(70)),
    "a profile": _chunk(b"iCCP", b"scanner\0\0" + LONG),
    "a damaged profile": _chunk(b"iCCP", b"scanner\0\0not compressed"),
    "a wrong checksum": _chunk(b"tEXt", b"a\0b", crc=0),
    "an unknown note with a wrong checksum": _chunk(b"zzZz", b"anything", crc=0),
    "a physical size that is too short": _chunk(b"pHYs", b"\0"),
    "a gamma that is too short": _chunk(b"gAMA", b""),
    "primaries that are too short": _chunk(b"cHRM", b"\0\0\0"),
    "an animation of no frames": _chunk(b"acTL", b"\0" * 8) + _chunk(b"fcTL", b"\0"),
}


@pytest.mark.parametrize("note", PNG_NOTES)
def test_no_note_of_a_png_costs_its_pixels_nor_turns_them(note):
    np.testing.assert_array_equal(_decode(_png_with(PNG_NOTES[note])), NOISE)
    turned = _decode(_png_with(_TURNED, PNG_NOTES[note]))
    np.testing.assert_array_equal(turned, np.rot90(NOISE, -1))


def test_a_note_behind_the_pixels_costs_nothing_either():
    content = _encode(Image.fromarray(NOISE), "PNG")
    for note in PNG_NOTES.values():
        np.testing.assert_array_equal(_decode(content[:-12] + note + content[-12:]), NOISE)


def _segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "note",
    [
        _segment(0xE2, b"MPF\0garbage"),
        _segment(0xE2, b"ICC_PROFILE\0\x09\x02" + b"x" * 900) * 70,
        _segment(0xE1, b"Exif\0\0garbage"),
        _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<broken"),
        _segment(0xED, b"Photoshop 3.0\x008BIM\xff\xff"),
        _segment(0xFE, b"\xff" * 60_000) * 30,
    ],
)
def test_no_note_of_a_jpeg_costs_its_pixels(note):
    content = _encode(Image.fromarray(NOISE), "JPEG")
    np.testing.assert_array_equal(_decode(content[:20] + note + content[20:]), _decode(content))


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"", b"\xff" * 60_000])
def test_no_exif_or_profile_costs_the_pixels(kind, exif):
    options = {"lossless": True} if kind == "WEBP" else {}
    plain = _decode(_encode(Image.fromarray(NOISE), kind, **options))
    profile = bytes(range(256)) * (5000 if kind in ("WEBP", "TIFF") else 200)
    content = _encode(Image.fromarray(NOISE), kind, icc_profile=profile, **options)
    np.testing.assert_array_equal(_decode(content), plain)
    if kind != "TIFF":
        content = _encode(Image.fromarray(NOISE), kind, exif=exif, **options)
        np.testing.assert_array_equal(_decode(content), plain)


def test_what_the_pixels_need_is_not_passed_over():
    content = _png_with(PNG_NOTES["a profile"])
    place = content.index(b"IDAT") + 6
    damaged = content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
    with pytest.raises(ImageError, match=r"a\.png is damaged"):
        _decode(damaged)
    with pytest.raises(ImageError, match=r"100\.0 megapixels"):
        bomb = _encode(Image.new("1", (10_000, 10_000)), "PNG")
        _decode(bomb[:33] + PNG_NOTES["a profile"] + bomb[33:])


def test_truncated_files_are_refused_whatever_the_caller_lets_pillow_do(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = _encode(Image.fromarray(noise), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        _decode(content[:700])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_memory_that_runs_out_is_no_damage(monkeypatch):
    content = _encode(Image.fromarray(NOISE), "PNG")
    for error in (MemoryError(), OSError("out of memory error when reading image file")):

        def load(self, error=error):
            raise error

        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
        monkeypatch.setattr("unseen.images.decode._memory_is_short", lambda _: True)
        with pytest.raises(OutOfMemoryError, match=r"a\.png \(5 × 7\)"):
            _decode(content)
    monkeypatch.setattr("unseen.images.decode._memory_is_short", lambda _: False)
    with pytest.raises(ImageError, match="damaged"):
        _decode(content)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_whole_image_in_a_process_without_memory_is_not_called_broken(tmp_path):
    Image.new("RGB", (7000, 7000)).save(tmp_path / "large.png")
    script = f"""
        import resource
        from unseen.core.errors import OutOfMemoryError
        from unseen.images import Preparation, batches, open_images
        source = open_images({str(tmp_path)!r})
        taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + (100 << 20),) * 2)
        try:
            list(batches(source, [0], Preparation(8), batch_size=1, workers=0, skip_broken=True))
        except OutOfMemoryError as error:
            assert "large.png" in str(error)
            print("told")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.stdout == "told\n", run.stderr
