import dataclasses
import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import unseen
from unseen.core.errors import (
    ImageError,
    OutOfMemoryError,
    RecordError,
    SegmenterError,
    StorageError,
)
from unseen.distribution import areas_run as module
from unseen.distribution.areas import MEASURED
from unseen.distribution.areas_run import count_labels
from unseen.distribution.areas_shards import merge_areas
from unseen.distribution.instrument import VIEWS
from unseen.distribution.segment import default_segmenter, segment
from unseen.images.folder import FolderSource

CLASSES = ("dark", "middle", "light")


@dataclasses.dataclass
class Brightness:
    """Labels a pixel by its brightness: the whole truth is known."""

    resolution: int = 8
    size: int = 8  # of the label maps
    weights: str = "ab12"
    seen: int = 0  # images

    def __post_init__(self):
        self.channels = {"object": CLASSES}
        self.provenance = {
            "spec": "brightness",
            "weights": {"weights": self.weights},
            "precision": "fp32",
        }

    def label_maps(self, images, channel="object"):
        self.seen += len(images)
        if self.size > self.resolution:
            raise RuntimeError("label maps are larger than images")
        return (images.mean(1) // 86).astype(np.uint8)[:, : self.size, : self.size]


@pytest.fixture
def photos(tmp_path):
    """37 images of 8×8: no multiple of a batch or of a shard."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(37):
        name = f"sub/{i:03d}.png" if i % 2 else f"{i:03d}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / name)
    return folder


def run(photos, segmenter=None, **settings):
    options = {"workers": 0, "batch_size": 4, "shard": 8, **settings}
    return segment(photos, segmenter or Brightness(), **options)


class Sure(Brightness):
    """Says of every image how sure it is: its mean brightness."""

    def labels_and_confidence(self, images, channel="object"):
        return self.label_maps(images, channel), images.mean((1, 2, 3)) / 255


def test_what_the_segmenter_saw_is_measured_in_the_same_pass(photos, tmp_path):
    segmenter = Sure()
    areas = run(photos, segmenter, out=tmp_path / "a.parquet")
    assert segmenter.seen == 37
    assert tuple(areas.measured) == MEASURED
    for name, confidence, brightness in zip(
        areas.names, areas.measured["confidence"], areas.measured["brightness"], strict=True
    ):
        image = np.asarray(Image.open(photos / name))
        assert confidence == pytest.approx(image.mean() / 255, abs=5e-4)  # kept to 3 decimals
        assert brightness == pytest.approx(
            np.asarray(Image.fromarray(image).convert("L")).mean() / 255, abs=1 / 255
        )
    unsure = run(photos)
    assert np.isnan(unsure.measured["confidence"]).all()
    np.testing.assert_array_equal(unsure.measured["sharpness"], areas.measured["sharpness"])


def test_views_are_kept_through_an_interruption_and_make_other_areas(photos, tmp_path):
    class Stops(Brightness):
        def label_maps(self, images, channel="object"):
            if self.seen > 60:
                raise KeyboardInterrupt
            return super().label_maps(images)

    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    areas = run(photos, out=whole, check_segmenter=True)
    assert tuple(areas.views) == tuple(VIEWS)
    np.testing.assert_array_equal(areas.views["mirrored"], areas.pixels)  # a label a pixel
    assert (areas.views["moved"] != areas.pixels).any()
    with pytest.raises(KeyboardInterrupt):
        run(photos, Stops(), out=out, check_segmenter=True)
    again = Brightness()
    run(photos, again, out=out, check_segmenter=True)
    assert 0 < again.seen < 3 * 37
    assert out.read_bytes() == whole.read_bytes()
    with pytest.raises(RecordError, match="views"):
        run(photos, out=out)


def test_areas_are_the_pixels_of_each_class(photos):
    areas = run(photos)
    expected = []
    for name in areas.names:
        labels = np.asarray(Image.open(photos / name)).astype(float).mean(-1) // 86
        expected.append([(labels == k).sum() for k in range(3)])
    np.testing.assert_array_equal(areas.pixels, expected)
    assert areas.pixels.dtype == np.uint32
    assert areas.columns == ("object/dark", "object/middle", "object/light")
    assert areas.label_map_pixels == 64


@pytest.mark.parametrize(
    ("fit", "shares"),
    # of 12 × 8 pixels, the left quarter dark and the right half light
    [
        ("crop", (0.125, 0.375, 0.5)),
        *((fit, (0.25, 0.25, 0.5)) for fit in ("squash", "tiles", "pad")),
    ],
)
def test_a_frame_is_cropped_or_counts_whole(tmp_path, fit, shares):
    folder = tmp_path / "frames"
    folder.mkdir()
    frame = np.repeat(np.uint8([0, 128, 255, 255]), 3)[None].repeat(8, 0)
    Image.fromarray(np.stack([frame] * 3, -1)).save(folder / "wide.png")
    Image.fromarray(np.stack([frame[:, :8]] * 3, -1)).save(folder / "square.png")
    settings = {"fit": fit, "check_segmenter": True, "seed": 0}
    areas = run(folder, Sure(), **settings)
    wide = list(areas.names).index("wide.png")
    np.testing.assert_array_equal(areas.pixels[wide] / 64, shares)
    np.testing.assert_array_equal(areas.views["mirrored"], areas.pixels)
    assert not np.isnan(areas.measured["confidence"]).any()
    described = areas.provenance["images"][0]
    assert described["fit"] == fit
    assert described["sizes"] == {
        "smallest": [8, 8],
        "largest": [12, 8],
        "pixels": 64 + 96,
        "cropped_pixels": 32,
    }


@given(n=st.integers(1, 5), classes=st.integers(1, 400), dtype=st.sampled_from(["uint8", "int64"]))
def test_every_label_is_counted_in_its_own_image(n, classes, dtype):
    maps = np.random.default_rng(n).integers(0, min(classes, 255), (n, 6, 7)).astype(dtype)
    one_hot = maps[..., None] == np.arange(classes)
    np.testing.assert_array_equal(count_labels(maps, classes), one_hot.sum((1, 2)))


@pytest.mark.parametrize("batch_size", [1, 3, 16, 64])
def test_the_batch_size_changes_nothing(photos, tmp_path, batch_size):
    run(photos, out=tmp_path / "a.parquet")
    run(photos, out=tmp_path / "b.parquet", batch_size=batch_size)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_worker_processes_change_nothing(photos, tmp_path):
    run(photos, out=tmp_path / "a.parquet")
    run(photos, out=tmp_path / "b.parquet", workers=2)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert [path.name for path in sorted(tmp_path.glob("*.parquet*"))] == ["a.parquet", "b.parquet"]


def test_a_finished_file_of_the_same_header_is_only_read(photos, tmp_path):
    out = tmp_path / "a.parquet"
    run(photos, out=out)
    again = Brightness()
    areas = run(Path(os.path.relpath(photos)), again, out=out)  # another spelling of the place
    assert again.seen == 0
    assert len(areas) == 37


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segmenter": Brightness(weights="ff")}, "weights is ab12 there, ff here"),
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"count": 9}, "asked is 37 there, 9 here"),
        ({"match_resolution": 4}, "match_resolution is null there, 4 here"),
        ({"fit": "pad"}, "fit is crop there, pad here"),
    ],
)
def test_a_finished_file_of_another_run_is_refused_unless_told(photos, tmp_path, settings, message):
    out = tmp_path / "a.parquet"
    run(photos, out=out)
    with pytest.raises(RecordError, match=message):
        run(photos, out=out, **settings)
    settings = {k: dataclasses.replace(v) if k == "segmenter" else v for k, v in settings.items()}
    assert len(run(photos, out=out, overwrite=True, **settings)) in (37, 9)


def test_changed_contents_are_another_run(photos, tmp_path):
    out = tmp_path / "a.parquet"
    run(photos, out=out)
    Image.new("RGB", (8, 8)).save(photos / "000.png")
    with pytest.raises(RecordError, match="fingerprint of images is"):
        run(photos, out=out)


def test_the_file_is_named_as_what_it_is(photos, tmp_path):
    with pytest.raises(RecordError, match=r"give it the ending \.parquet"):
        run(photos, out=tmp_path / "areas")


def test_parts_concatenate_to_the_whole(photos):
    whole = run(photos, count=30, seed=3)
    parts = [run(photos, count=30, seed=3, part=(i, 4)) for i in (1, 2, 3, 4)]
    joined = unseen.concatenate(parts)
    assert list(joined.names) == list(whole.names)
    np.testing.assert_array_equal(joined.pixels, whole.pixels)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_merged_parts_have_the_bytes_of_one_run_and_are_complete(photos, tmp_path, parts):
    (photos / "sub" / "021.png").write_bytes(b"no image")
    settings = {"skip_broken": True, "check_segmenter": True, "seed": 3, "count": 36}
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    run(photos, out=whole, **settings)
    for part in sorted(range(1, parts + 1), reverse=True):
        # Another number of images a call, and other shards: those of the first part count.
        own = {} if part == parts else {"batch_size": 7, "shard": 5}
        mine = run(photos, out=out, part=(part, parts), **settings, **own)
        assert out.exists() == (parts == 1)
        assert 0 < len(mine) <= 36
    assert len(merge_areas(out)) in (35, 36)
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "out.parquet.parts").exists()
    again = Brightness()
    for part in [(1, 1), *((part, parts) for part in range(1, parts + 1))]:
        run(photos, again, out=out, part=part, **settings)
    merge_areas(out)
    assert again.seen == 0
    workers = {"out.parquet.workers.json"} if parts > 1 else set()
    assert {path.name for path in tmp_path.glob("[!p]*")} == {out.name, whole.name, *workers}


def test_one_part_computes_the_fingerprint_for_all(photos, tmp_path, monkeypatch):
    computed = []
    plain = FolderSource.fingerprint

    def counted(source):
        computed.append(source)
        return plain(source)

    monkeypatch.setattr(FolderSource, "fingerprint", counted)
    out = tmp_path / "out.parquet"
    for part in (1, 2):
        run(photos, out=out, part=(part, 3))
    assert len(computed) == 1
    Image.new("RGB", (8, 8)).save(photos / "sub" / "035.png")  # of the third part
    with pytest.raises(RecordError, match="fingerprint of images is"):
        run(photos, out=out, part=(3, 3))
    assert len(computed) == 2


def test_a_part_that_is_missing_is_named(photos, tmp_path):
    out = tmp_path / "out.parquet"
    with pytest.raises(RecordError, match=r"out\.parquet\.parts"):
        merge_areas(out)
    for part in (1, 3):
        run(photos, out=out, part=(part, 3))
    with pytest.raises(RecordError, match="images 8 to 23 of 37"):
        merge_areas(out)
    with pytest.raises(SegmenterError):  # nothing of part 2 is kept, and all of the others
        run(photos, Brightness(size=99), out=out, part=(2, 3), batch_size=16)
    with pytest.raises(RecordError, match="images 8 to 23 of 37"):
        merge_areas(out)
    with pytest.raises(ImageError, match="part 7/9"):  # there are 5 shards
        run(photos, out=out, part=(7, 9))


def test_more_images_than_there_are_is_an_error(photos):
    with pytest.raises(ImageError, match="37"):
        run(photos, count=38)


def test_a_broken_image_stops_the_run_and_keeps_what_is_done(photos, tmp_path):
    out = tmp_path / "a.parquet"
    # position 29, in the eighth batch of 4: seven are whole
    (photos / "sub" / "021.png").write_bytes(b"no image")
    first = Brightness()
    with pytest.raises(ImageError, match=r"021\.png") as caught:
        run(photos, first, out=out)
    assert "28 of 37 images are kept" in caught.value.__notes__[0]
    again = Brightness()
    areas = run(photos, again, out=out, skip_broken=True)
    assert again.seen == 37 - 28 - 1
    (broken,) = areas.provenance["images"][0]["broken"]
    assert broken["name"] == "sub/021.png"
    assert len(areas) == areas.provenance["images"][0]["count"] == 36
    with pytest.raises(ImageError, match="left out with skip_broken before"):
        run(photos, out=out)


def test_a_slow_segmenter_is_kept_after_some_seconds_not_some_images(photos, tmp_path, monkeypatch):
    class Stopping(Brightness):
        def label_maps(self, images, channel="object"):
            if self.seen >= 12:
                raise RuntimeError("the user's own fault")
            return super().label_maps(images)

    monkeypatch.setattr(module, "_PIECE_SECONDS", 0)
    out, whole = tmp_path / "a.parquet", tmp_path / "whole.parquet"
    with pytest.raises(SegmenterError, match="own fault"):
        run(photos, Stopping(), out=out, shard=1024)
    kept = sorted(path.name for path in (tmp_path / "a.parquet.parts").glob("0*"))
    assert kept == [f"{k:09d}-{k + 4:09d}.piece" for k in (0, 4, 8)]
    again = Brightness()
    run(photos, again, out=out, shard=1024)
    assert again.seen == 37 - 12
    run(photos, out=whole)
    assert out.read_bytes() == whole.read_bytes()


def test_a_lost_shard_in_the_middle_is_filled(photos, tmp_path):
    out = tmp_path / "a.parquet"
    (photos / "sub" / "035.png").write_bytes(b"no image")  # the last: all shards before it stay
    with pytest.raises(ImageError):
        run(photos, out=out)
    (tmp_path / "a.parquet.parts" / "000000008-000000016.parquet").unlink()
    again = Brightness()
    run(photos, again, out=out, skip_broken=True)
    assert again.seen == 8
    run(photos, out=tmp_path / "b.parquet", skip_broken=True)
    assert out.read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_an_interrupted_run_with_overwrite_goes_on_too(photos, tmp_path):
    class Interrupted(Brightness):
        def label_maps(self, images, channel="object"):
            if self.seen >= 20:
                raise KeyboardInterrupt
            return super().label_maps(images)

    out = tmp_path / "a.parquet"
    run(photos, out=out, seed=1)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(photos, Interrupted(), out=out, overwrite=True)
    assert caught.value.__notes__ == [
        f"20 of 37 images are kept in {out}.parts: run the same command again to go on"
    ]
    again = Brightness()
    run(photos, again, out=out, overwrite=True)
    assert again.seen == 37 - 20


def test_only_broken_images_are_an_error(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="all 1 images are broken"):
        run(tmp_path / "photos", skip_broken=True)


def test_label_maps_of_two_sizes_in_one_run_are_refused(photos):
    class Growing(Brightness):
        def label_maps(self, images, channel="object"):
            self.size = 8 if self.seen == 0 else 4
            return super().label_maps(images)

    with pytest.raises(SegmenterError, match="label maps of 4×4 after 8×8"):
        run(photos, Growing())


def test_an_unknown_channel_names_the_known_ones(photos):
    with pytest.raises(SegmenterError, match="has no channel 'material'; it has: object"):
        run(photos, channel="material")


def test_label_maps_are_kept_as_16_bit_images(photos, tmp_path):
    maps, out = tmp_path / "maps", tmp_path / "a.parquet"
    areas = run(photos, out=out, keep_maps=maps)
    kept = Image.open(maps / "sub" / "001.png.png")
    assert kept.mode == "I;16"
    row = list(areas.names).index("sub/001.png")
    np.testing.assert_array_equal(
        np.bincount(np.asarray(kept).ravel(), minlength=3), areas.pixels[row]
    )
    (maps / "000.png.png").unlink()
    again = Brightness()
    run(photos, again, out=out, keep_maps=maps)  # finished areas do not stand for lost maps
    assert again.seen == 37
    assert (maps / "000.png.png").is_file()
    with pytest.raises(RecordError, match="weights is ab12 there, ff here"):
        run(photos, Brightness(weights="ff"), keep_maps=maps)


def test_a_name_as_long_as_names_can_be_has_its_label_map(photos, tmp_path):
    names = ["a" * 251 + ".png", "ü" * 125 + ".png", "b" * 244 + "1.png", "b" * 247 + ".png"]
    for name in names:
        (photos / "000.png").rename(photos / name)
        Image.new("RGB", (8, 8)).save(photos / "000.png")
    areas = run(photos, keep_maps=tmp_path / "maps")
    paths = {module.label_map_path(tmp_path / "maps", name) for name in areas.names}
    assert len(paths) == len(areas)
    assert all(path.is_file() for path in paths)


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    for name in ("../a", "/a", "a/../../b"):
        with pytest.raises(RecordError, match="leads out of"):
            module.label_map_path(tmp_path, name)


def test_a_full_disk_keeps_what_is_done(photos, tmp_path, monkeypatch):
    import pyarrow.parquet

    out = tmp_path / "a.parquet"
    write, written = pyarrow.parquet.write_table, []

    def fill(table, where, **options):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(where)
        write(table, where, **options)

    monkeypatch.setattr(pyarrow.parquet, "write_table", fill)
    with pytest.raises(StorageError, match="disk is full") as caught:
        run(photos, out=out)
    assert "16 of 37 images are kept" in caught.value.__notes__[0]
    monkeypatch.undo()
    again = Brightness()
    run(photos, again, out=out)
    assert again.seen == 37 - 16
    run(photos, out=tmp_path / "b.parquet")
    assert out.read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_memory_does_not_grow_with_the_images(tmp_path):
    class Many:
        spec, endless = "many", True

        def read(self, index):
            return np.full((3, 64, 64), index % 256, np.uint8)

        def fingerprint(self):
            return "many"

    def peak(count):
        tracemalloc.start()
        run(Many(), Brightness(resolution=64), out=tmp_path / f"{count}.parquet", count=count)
        answer = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return answer

    Many.names = [f"{i}" for i in range(600)]
    peak(20)  # what is imported and cached once
    # 500 images more are 6 MB of pixels; their rows and names are 0.1 MB
    assert peak(600) - peak(100) < 1e6


def test_progress_begins_with_what_is_kept(photos, tmp_path):
    reports = []
    run(photos, out=tmp_path / "a.parquet", progress=lambda done, n: reports.append((done, n)))
    assert reports[0] == (0, 37)
    assert reports[-1] == (37, 37)
    assert reports == sorted(reports)


def test_the_churchyard_has_its_own_segmenter():
    assert default_segmenter("churchyard?seed=1", "churchyard?seed=2") == "churchyard"
    assert default_segmenter("churchyard?seed=1", "photos") == "upp"
    assert default_segmenter(Path("churchyard.png")) == "upp"


# --- killed and interrupted: real processes -----------------------------------------------------

_SEGMENTER = """
import time
import numpy as np
class Slow:
    channels = {"object": ("dark", "light")}
    resolution = 8
    provenance = {"spec": "slow", "weights": {"w": "1"}}
    def label_maps(self, images, channel="object"):
        time.sleep(float(open("seconds").read()))
        with open("seen", "a") as file:
            file.write("x" * len(images))
        return (images[:, 0] > 127).astype(np.uint8)
"""
_COMMAND = """
import sys
from unseen.cli.main import run
sys.exit(run(["segment", "photos", sys.argv[1], "--segmenter", "python:slow:Slow",
              "--batch-size", "2", "--shard-size", "4", "--device", "cpu"]))
"""


def start(folder, out, seconds):
    (folder / "slow.py").write_text(_SEGMENTER)
    (folder / "seconds").write_text(str(seconds))
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, out],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.01)


def seen(folder):
    """How many images the slow segmenter has looked at, over all runs."""
    path = folder / "seen"
    return path.stat().st_size if path.exists() else 0


@pytest.mark.timeout(120)
def test_killed_at_any_moment_it_ends_in_the_same_bytes(photos, tmp_path):
    start(tmp_path, "whole.parquet", 0).communicate(timeout=60)
    (tmp_path / "seen").unlink()
    chance = random.Random(5)
    for _ in range(3):
        before = seen(tmp_path)
        process = start(tmp_path, "out.parquet", 0.05)
        while process.poll() is None and seen(tmp_path) == before:  # so that it falls into the work
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.communicate()
    process = start(tmp_path, "out.parquet", 0)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert seen(tmp_path) <= 37 + 3 * 4  # each of 3 kills costs at most one shard of 4 images
    assert not (tmp_path / "out.parquet.parts").exists()


def test_ctrl_c_ends_soon_and_says_how_to_go_on(photos, tmp_path):
    process = start(tmp_path, "out.parquet", 0.3)
    wait_for(tmp_path / "out.parquet.parts" / "000000000-000000004.parquet")
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - begin < 10  # the promise is 2 s on an idle machine
    # a shard of 4, and perhaps a batch or two of 2 that were whole
    assert re.fullmatch(
        r"unseen: interrupted; ([4-9]|1\d) of 37 images are kept in out\.parquet\.parts: run the "
        r"same command again to go on\n",
        errors,
    )


def test_the_command_prints_what_it_wrote(photos, tmp_path):
    process = start(tmp_path, "out.parquet", 0)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")  # no progress: stderr is no terminal
    assert output.startswith("out.parquet: 37 images, 2 classes, label maps 8×8; mean shares: ")


def test_two_runs_on_one_output_at_once_lose_nothing(photos, tmp_path):
    start(tmp_path, "whole.parquet", 0).communicate(timeout=60)
    first = start(tmp_path, "out.parquet", 0.3)
    wait_for(tmp_path / "out.parquet.parts" / "header.json")
    second = start(tmp_path, "out.parquet", 0.3)
    _, told = second.communicate(timeout=60)
    assert second.returncode in (0, 1)  # the first was done in the meantime, or is told of
    assert second.returncode == 0 or "another process is writing" in told
    first.kill()
    first.communicate()
    assert start(tmp_path, "out.parquet", 0).communicate(timeout=60)[1] == ""
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob("**/.unseen-*"))


def test_out_of_memory_keeps_what_is_done_and_smaller_batches_go_on(photos, tmp_path):
    class Small(Brightness):
        def label_maps(self, images, channel="object"):
            if len(images) > 2 and self.seen:
                raise MemoryError
            return super().label_maps(images)

    out = tmp_path / "a.parquet"
    with pytest.raises(OutOfMemoryError, match="--batch-size"):
        run(photos, Small(), out=out)
    again = Small()
    areas = run(photos, again, out=out, batch_size=2)
    assert again.seen == 37 - 4
    assert areas.provenance["batch_sizes"] == [2, 4]
    np.testing.assert_array_equal(areas.pixels, run(photos).pixels)


def test_an_unfinished_run_goes_on_with_the_batch_size_it_began_with(photos, tmp_path):
    class Stopping(Brightness):
        sizes = ()

        def label_maps(self, images, channel="object"):
            self.sizes = (*self.sizes, len(images))
            if self.weights == "ab12" and len(self.sizes) == 3:
                raise KeyboardInterrupt
            return super().label_maps(images)

    with pytest.raises(KeyboardInterrupt):
        run(photos, Stopping(), out=tmp_path / "a.parquet", batch_size=3, shard=9)
    again = Stopping()
    again.sizes = (0,) * 9
    run(photos, again, out=tmp_path / "a.parquet", batch_size=16)
    assert set(again.sizes[9:-1]) == {3}


def test_a_folder_of_someone_elses_at_the_place_of_the_shards_is_left_alone(photos, tmp_path):
    theirs = tmp_path / "a.parquet.parts" / "mine.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(StorageError, match=r"a\.parquet\.parts"):
            run(photos, out=tmp_path / "a.parquet", overwrite=overwrite)
    assert theirs.read_text() == "mine"


@pytest.mark.parametrize("name", ["a" * 250 + ".parquet", "\udcff.parquet", "file/a.parquet"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(photos, tmp_path, name):
    (tmp_path / "file").write_text("")
    segmenter = Brightness()
    with pytest.raises(StorageError):
        run(photos, segmenter, out=tmp_path / name)
    assert segmenter.seen == 0


def test_every_file_that_the_segmenter_opened_makes_other_areas(photos, tmp_path):
    out = tmp_path / "a.parquet"
    one, other = Brightness(), Brightness()
    one.provenance = {**one.provenance, "module_sha256": {"bright.py": "1"}}
    other.provenance = {**one.provenance, "module_sha256": {"bright.py": "2"}}
    run(photos, one, out=out)
    with pytest.raises(RecordError, match=r"module_sha256/bright\.py is 1 there, 2 here"):
        run(photos, other, out=out)
