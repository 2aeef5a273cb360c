"""WebDataset: samples in tars, with their captions."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from tests.support.worlds import Halves

import unseen
from unseen.core.errors import ImageError, SpecError
from unseen.images import open_images


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, members: Mapping[str, bytes | str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_texts_of_samples_are_conditions_and_follow_the_images(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "set.tar",
        {
            "b.txt": " a café\n",
            "b.png": png(200),
            "a.json": '{"caption": "a church", "width": 8}',
            "a.png": png(10),
            "c.cls": "7\n",
            "c.png": png(90),
            "c.json": '{"caption": "not before the class"}',
        },
    )
    source = open_images(path)
    assert source.spec == f"webdataset:{path}"
    assert list(source.names) == ["a.png", "b.png", "c.png"]
    assert int(source.read(1).max()) == 200
    areas = unseen.segment(path, Halves(), workers=1)
    assert areas.conditions == ["a church", "a café", "not before the class"]


def test_a_class_alone_is_a_condition_and_no_text_is_none(tmp_path: Path) -> None:
    labelled = pack(tmp_path / "labelled.tar", {"a.png": png(1), "a.cls": "7"})
    assert unseen.segment(labelled, Halves(), workers=0).conditions == ["class 7"]
    plain = pack(tmp_path / "plain.tar", {"a.png": png(1)})
    assert unseen.segment(plain, Halves(), workers=0).conditions is None


@pytest.mark.parametrize("where", ["shards", "shards/{000..001}.tar", "shards/*.tar"])
def test_many_tars_are_one_set(tmp_path: Path, where: str) -> None:
    (tmp_path / "shards").mkdir()
    for number in (1, 0):
        pack(tmp_path / f"shards/00{number}.tar", {"x.png": png(number), "x.txt": f"text {number}"})
    source = open_images(f"webdataset:{tmp_path}/{where}")
    assert list(source.names) == ["000.tar/x.png", "001.tar/x.png"]
    assert [int(source.read(index).max()) for index in (0, 1)] == [0, 1]
    assert source.conditions([1]) == ["text 1"]  # type: ignore[attr-defined]


def test_other_parts_of_samples_are_named_and_left_out(tmp_path: Path) -> None:
    members = {"a.png": png(1), "a.seg.png": png(2), "a.txt": "a church"}
    with pytest.warns(UserWarning, match=r"\.seg\.png"):
        source = open_images(pack(tmp_path / "set.tar", members))
    assert list(source.names) == ["a.png"]


@pytest.mark.parametrize(
    ("members", "value"),
    [
        ({"a.png": png(1), "a.txt": "x", "b.png": png(1)}, "b.png"),
        ({"a.png": png(1), "a.json": "{}"}, "a.json"),
        ({"a.png": png(1), "a.json": "[1]"}, "a.json"),
        ({"a.png": png(1), "a.txt": b"\xff\xfe\xff"}, "a.txt"),
    ],
)
def test_a_text_that_is_missing_or_none_is_named(
    tmp_path: Path, members: dict[str, bytes | str], value: str
) -> None:
    source = open_images(pack(tmp_path / "set.tar", members))
    with pytest.raises(ImageError, match=value):
        source.conditions([0])  # type: ignore[attr-defined]


def test_what_is_no_whole_tar_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"a.png": png(1), "b.png": b"x" * 9999})
    content = path.read_bytes()
    path.write_bytes(content[:3000])
    with pytest.raises(ImageError, match=r"b\.png"):
        open_images(path)
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(ImageError, match=r"set\.tar"):
        open_images(path)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(ImageError, match="compressed"):
        open_images(path)
    with pytest.raises(ImageError, match=r"0\.tar"):
        open_images(f"webdataset:{tmp_path}/{{0..3}}.tar")
    with pytest.raises(SpecError, match="9,999,999"):
        open_images(f"webdataset:{tmp_path}/{{1..9999999}}.tar")
    with pytest.raises(ImageError, match="twice"):
        open_images(_twice(tmp_path / "twice.tar"))


def _twice(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for _ in range(2):
            member = tarfile.TarInfo("a.png")
            member.size = len(png(1))
            archive.addfile(member, io.BytesIO(png(1)))
    return path


def test_links_are_no_images(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"a.png": png(1)})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.warns(UserWarning, match=r"b\.png"):
        assert list(open_images(path).names) == ["a.png"]
