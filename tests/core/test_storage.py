"""Places in an object store, by fsspec's store in memory: the same results as on a disk."""

import hashlib
import importlib
import io
import tarfile
import uuid
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unseen.core import storage, twins
from unseen.core.errors import (
    ImageError,
    MissingExtraError,
    RecordError,
    SpecError,
    StorageError,
    StoreError,
    public,
)
from unseen.core.files import as_path, write_text
from unseen.core.storage import Stored, stored
from unseen.distribution.comparison_run import compare
from unseen.distribution.segment import segment
from unseen.generators import load_generator
from unseen.generators.sample import Sampling, sample
from unseen.images import Preparation, batches, open_images
from unseen.segmenters import load_segmenter

FILES = fsspec.filesystem("memory")
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
SETTINGS: dict[str, Any] = {"workers": 0, "batch_size": 2, "shard": 2}


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def bucket() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def segmenter() -> Any:
    return load_segmenter("churchyard")


@pytest.fixture
def photos(bucket: str) -> str:
    for k, picture in enumerate(PICTURES):
        FILES.pipe_file(f"{bucket}/photos/{k % 2}/{k}.png", png(picture))
    return f"{bucket}/photos"


def there(url: str) -> list[str]:
    """The names of all objects below a URL."""
    root = FILES._strip_protocol(url)
    return sorted(path.removeprefix(f"{root}/") for path in FILES.find(url))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the local folders that stand for places in stores."""
    monkeypatch.setattr(twins, "_twins", {})
    twins._twin_of.cache_clear()


def test_a_folder_has_the_images_of_the_folder_on_a_disk(tmp_path: Path, photos: str) -> None:
    FILES.pipe_file(f"{photos}/notes.txt", b"no image")
    FILES.get(photos, str(tmp_path / "photos"), recursive=True)
    with pytest.warns(UserWarning, match=r"\.txt"):
        here, away = open_images(tmp_path / "photos"), open_images(photos)
    assert list(away.names) == list(here.names)
    assert all((away.read(k) == here.read(k)).all() for k in range(len(PICTURES)))
    before = away.fingerprint()
    FILES.pipe_file(f"{photos}/0/2.png", png(PICTURES[1]))
    with pytest.warns(UserWarning, match=r"\.txt"):
        assert open_images(photos).fingerprint() != before


def test_zips_tars_and_parquet_files_are_read_in_place(bucket: str) -> None:
    packed = {"zip": io.BytesIO(), "tar": io.BytesIO(), "parquet": io.BytesIO()}
    contents = {f"{k:03}.png": png(picture) for k, picture in enumerate(PICTURES)}
    with zipfile.ZipFile(packed["zip"], "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with tarfile.open(fileobj=packed["tar"], mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    images = [{"bytes": content, "path": name} for name, content in contents.items()]
    pq.write_table(pa.table({"image": images}), packed["parquet"])
    for kind, content in packed.items():
        FILES.pipe_file(f"{bucket}/set.{kind}", content.getvalue())
        source = open_images(f"{bucket}/set.{kind}")
        assert list(source.names) == list(contents)
        assert (np.moveaxis(source.read(4), 0, -1) == PICTURES[4]).all()
    FILES.pipe_file(f"{bucket}/tars/a.tar", packed["tar"].getvalue())
    FILES.pipe_file(f"{bucket}/tars/b.tar", packed["tar"].getvalue())
    assert len(open_images(f"webdataset:{bucket}/tars/*.tar").names) == 12


def test_areas_have_the_bytes_of_those_on_a_disk(
    segmenter: Any, tmp_path: Path, bucket: str, photos: str
) -> None:
    here, away = tmp_path / "areas.parquet", f"{bucket}/runs/areas.parquet"
    segment(photos, segmenter, out=here, **SETTINGS)
    segment(photos, segmenter, out=away, **SETTINGS)
    assert sha256(FILES.cat_file(away)) == sha256(here.read_bytes())
    assert there(f"{bucket}/runs") == ["areas.parquet"]
    with pytest.raises(RecordError, match=away):  # the URL, not a path of this machine
        segment(photos, segmenter, out=away, count=2, **SETTINGS)


def test_a_run_goes_on_on_another_machine(
    segmenter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket: str, photos: str
) -> None:
    away = f"{bucket}/areas.parquet"

    def stop(done: int, _: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        segment(photos, segmenter, out=away, progress=stop, **SETTINGS)
    assert bucket in "".join(raised.value.__notes__)
    kept = there(f"{away}.parts")
    assert kept == ["000000000-000000002.parquet", "000000002-000000004.parquet", "header.json"]
    on_another_machine(monkeypatch)
    seen: list[int] = []
    segment(photos, segmenter, out=away, progress=lambda done, _: seen.append(done), **SETTINGS)
    assert seen[0] == 4
    segment(photos, segmenter, out=tmp_path / "areas.parquet", **SETTINGS)
    assert sha256(FILES.cat_file(away)) == sha256((tmp_path / "areas.parquet").read_bytes())
    assert [name for name in there(bucket) if "photos/" not in name] == ["areas.parquet"]


def test_parts_on_several_machines_share_a_place(
    segmenter: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket: str, photos: str
) -> None:
    from unseen.distribution.areas_shards import merge_areas

    away = f"{bucket}/areas.parquet"
    for part in (1, 2):
        segment(photos, segmenter, out=away, part=(part, 2), **SETTINGS)
        on_another_machine(monkeypatch)
    merge_areas(away)
    segment(photos, segmenter, out=tmp_path / "areas.parquet", **SETTINGS)
    assert sha256(FILES.cat_file(away)) == sha256((tmp_path / "areas.parquet").read_bytes())


def test_of_two_that_write_one_file_the_first_stays(
    monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    first = as_path(f"{bucket}/run/shard")
    on_another_machine(monkeypatch)
    second = as_path(f"{bucket}/run/shard")
    assert first != second
    write_text(second, "by the second", once=True)
    assert FILES.cat_file(f"{bucket}/run/shard") == b"by the second"
    FILES.pipe_file(f"{bucket}/run/shard", b"by the first")
    write_text(second, "by the second", once=True)
    assert FILES.cat_file(f"{bucket}/run/shard") == b"by the first"
    assert second.read_text() == "by the first"
    write_text(second, "replaced")
    assert FILES.cat_file(f"{bucket}/run/shard") == b"replaced"


def test_samples_are_drawn_once_whatever_machine_goes_on(
    monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    generator = load_generator("churchyard-full")
    away = f"{bucket}/drawn"
    sample(Sampling(generator=generator, out=Path(away), indices=range(3)))
    before = {name: FILES.info(f"{away}/{name}")["created"] for name in there(away)}
    on_another_machine(monkeypatch)
    sample(Sampling(generator=generator, out=Path(away), indices=range(4)))
    after = {name: FILES.info(f"{away}/{name}")["created"] for name in there(away)}
    assert set(after) == {*before, "00000003.png"}
    assert {name: after[name] for name in before} == before
    for name in after:  # as if another machine had drawn for the zip, and been killed
        FILES.pipe_file(f"{away}.zip.parts/{name}", FILES.cat_file(f"{away}/{name}"))
    sample(Sampling(generator=generator, out=Path(f"{away}.zip"), indices=range(4)))
    assert there(bucket) == sorted(["drawn.zip", *(f"drawn/{name}" for name in after)])
    folder, packed = open_images(away), open_images(f"{away}.zip")
    assert (folder.read(3) == packed.read(3)).all()


def test_a_comparison_names_no_local_folder(segmenter: Any, bucket: str, photos: str) -> None:
    away = f"{bucket}/comparison"
    comparison = compare(photos, photos, segmenter, out=away, workers=0)
    assert "comparison.json" in there(away)
    assert comparison.folder is not None
    local = str(comparison.folder.parent).encode()
    assert not any(local in FILES.cat_file(f"{away}/{name}") for name in there(away))


@pytest.mark.parametrize(
    "url",
    ["s3://me:pa55word@bucket/photos", "s3://bucket/photos?X-Amz-Security-Token=pa55word", "s3://"],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    for read in (open_images, as_path):
        with pytest.raises(SpecError) as raised:
            read(url)
        assert "pa55word" not in str(raised.value)
    assert "pa55word" not in public(f"cannot read {url}")
    with pytest.raises(SpecError, match="bucket"):
        as_path("s3://bucket")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    with pytest.raises(ImageError, match=f"{bucket}/none"):
        open_images(f"{bucket}/none")
    with pytest.raises(MissingExtraError, match="gcsfs"):
        open_images("gs://bucket/photos")

    class NoCredentialsError(Exception):
        pass

    faults = [PermissionError("denied"), NoCredentialsError("none"), OSError("no route")]

    def refuse(*_: Any, **__: Any) -> None:
        raise faults[-1]

    with monkeypatch.context() as patched:
        patched.setattr(type(FILES), "info", refuse)
        for name in ("no route", "none", "denied"):
            with pytest.raises(StoreError, match=f"{bucket}/run.*{name}"):
                as_path(f"{bucket}/run")
            faults.insert(0, faults.pop())
    monkeypatch.setattr(type(FILES), "put_file", refuse)
    with pytest.raises(StorageError, match="no route"):
        write_text(as_path(f"{bucket}/file.txt"), "text")


def test_a_store_that_fails_breaks_no_image(
    segmenter: Any, monkeypatch: pytest.MonkeyPatch, photos: str
) -> None:
    source = open_images(photos)
    source.read(0)
    FILES.rm_file(f"{photos}/0/0.png")
    with pytest.raises(ImageError):
        source.read(0)  # it is gone

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(type(FILES), "cat_file", refuse)
    with pytest.raises(StoreError):  # which --skip-broken does not skip
        segment(source, segmenter, skip_broken=True, workers=0)


def test_a_folder_that_cannot_be_listed_is_not_left_out(
    monkeypatch: pytest.MonkeyPatch, photos: str
) -> None:
    whole = type(FILES).ls

    def listed(files: Any, path: str, **settings: Any) -> Any:
        if path.rstrip("/").endswith("/1"):
            raise OSError("no route")
        return whole(files, path, **settings)

    monkeypatch.setattr(type(FILES), "ls", listed)
    with pytest.raises(StoreError, match="no route"):
        open_images(photos)


def test_nor_does_one_that_fails_in_a_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "refusing_store.py").write_text(
        "from unseen.core.errors import StoreError\n"
        "class Refusing:\n"
        "    spec, names, endless = 'refusing', ['a'], False\n"
        "    def read(self, index):\n"
        "        raise StoreError('no route to the store')\n"
        "    def fingerprint(self):\n"
        "        return ''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = importlib.import_module("refusing_store").Refusing()
    stream = batches(source, [0], Preparation(64), batch_size=1, workers=1, skip_broken=True)
    with pytest.raises(StoreError, match="no route"):
        next(stream)


def test_pages_of_a_listing_are_joined() -> None:
    keys = [f"set/{k % 3}/{k % 2}/deep/{k:05}.png" for k in range(4000)] + ["set/a.png", "set/1/"]

    class Pages:
        """As s3fs answers, in pages of 100 keys."""

        req_kw: ClassVar[dict[str, str]] = {}

        def call_s3(self, method: str, **asked: Any) -> dict[str, Any]:
            assert method == "list_objects_v2"
            prefix, start = asked["Prefix"], int(asked.get("ContinuationToken", 0))
            inside = sorted(key for key in keys if key.startswith(prefix))
            folders: set[str] = set()
            if asked.get("Delimiter"):
                rest = {key: key.removeprefix(prefix).partition("/") for key in inside}
                folders = {prefix + name + "/" for name, slash, _ in rest.values() if slash}
                inside = [key for key in inside if not rest[key][1]]
            page = inside[start : start + 100]
            return {
                "IsTruncated": start + 100 < len(inside),
                "NextContinuationToken": str(start + 100),
                "CommonPrefixes": [{"Prefix": folder} for folder in sorted(folders)],
                "Contents": [{"Key": key, "Size": 1, "ETag": f'"{key}"'} for key in page],
            }

    listed = [path for page in storage._s3_pages(Pages(), "bucket/set/") for path, _ in page]
    assert sorted(listed) == sorted(f"bucket/{key}" for key in keys)


def test_a_path_that_was_made_of_a_url_is_the_url() -> None:
    assert (
        stored("s3://bucket/set/") == stored(Path("s3://bucket/set")) == Stored("s3://bucket/set")
    )
    assert not storage.is_url("hf:/models/segformer")  # the spec of a segmenter
    assert not storage.is_url(Path("/hf:/models"))
