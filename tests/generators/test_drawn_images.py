"""Generators as sides: drawn by index, segmented in one pass, resumed, kept, told from images."""

import dataclasses
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import (
    GeneratorError,
    ImageError,
    RecordError,
    SampleError,
    SegmenterError,
    SpecError,
)
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.distribution.segment import default_segmenter, segment
from unseen.generators import load_generator, sources
from unseen.generators.ablations import Ablation
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.progan import ProGAN
from unseen.generators.sample import Sampling, sample
from unseen.generators.sources import Drawing

WIDTHS = (9, 12, 10, 8)  # latent, 4×4, 8×8, 16×16


@dataclasses.dataclass
class Brightness:
    """Labels a pixel by its brightness: one level of 256 more moves pixels between classes."""

    resolution: int = 16
    classes: int = 64
    seen: int = 0  # images

    def __post_init__(self):
        self.channels = {"object": tuple(f"level {k}" for k in range(self.classes))}
        self.provenance = {"spec": "brightness", "weights": {"weights": "ab12"}}

    def label_maps(self, images, channel="object"):
        self.seen += len(images)
        return images[:, 0] // (256 // self.classes)


class Counting:
    """Draws an image of one brightness, the latent's first number, and counts what it drew."""

    def __init__(self):
        self.drawn = 0

    def __call__(self, latents):
        self.drawn += len(latents)
        return latents[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 16, 16)


def counting(**provenance):
    return unseen.FunctionGenerator(
        Counting(), latent_size=2, resolution=16, provenance={"weights_sha256": "1"} | provenance
    )


@pytest.fixture(scope="module")
def progan(tmp_path_factory):
    """The spec of a tiny ProGAN with random weights."""
    torch.manual_seed(0)
    network = ProGAN(WIDTHS)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_file(network.state_dict(), path)
    return f"progan:{path}"


@pytest.fixture(scope="module")
def by_batch(tmp_path_factory):
    """The spec of a tiny WGAN-GP that normalises by the batch at hand."""
    torch.manual_seed(0)
    state = Ablation("batch-norm", widths=WIDTHS).state_dict()
    path = tmp_path_factory.mktemp("weights") / "toy.pth"
    torch.save({_published_key(key): value for key, value in state.items()}, path)
    return f"wgan-gp:{path}?batch_norm=batch"


def _published_key(key):
    return re.sub(r"^layer(\d+)", lambda found: f"features.{int(found[1]) - 1}", key)


def areas_of(images, out=None, **settings):
    return segment(
        images, Brightness(), out=out, **{"workers": 0, "count": 40, "shard": 8, **settings}
    )


# --- one pass instead of two --------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_the_generator_has_the_areas_of_the_folder_of_its_samples(progan, tmp_path, rounding):
    generator = load_generator(progan)
    folder = tmp_path / "samples"
    sample(Sampling(generator=generator, out=folder, indices=range(40), rounding=rounding, seed=3))
    kept = areas_of(folder, count=None)
    drawn = areas_of(DrawnImages(generator, seed=3, rounding=rounding))
    assert list(kept.names) == list(drawn.names)
    np.testing.assert_array_equal(kept.pixels, drawn.pixels)


def test_the_generator_has_the_areas_of_its_samples_by_batches_too(by_batch, tmp_path):
    generator = load_generator(by_batch)
    indices = [*range(6, 40), *range(6)]  # image k is of its batch, not of how it was asked for
    sample(Sampling(generator=generator, out=tmp_path / "s", indices=indices, batch_size=7))
    kept = areas_of(tmp_path / "s", count=None)
    np.testing.assert_array_equal(
        kept.pixels, areas_of(DrawnImages(generator, batch_size=7)).pixels
    )
    assert (kept.pixels != areas_of(DrawnImages(generator, batch_size=8)).pixels).any()


@pytest.mark.parametrize("broken_off", [False, True])
def test_areas_of_batches_are_finished_with_the_size_that_they_began_with(
    by_batch, tmp_path, monkeypatch, broken_off
):
    generator = load_generator(by_batch)
    whole = areas_of(DrawnImages(generator, batch_size=7), out=tmp_path / "whole.parquet")
    out = tmp_path / "areas.parquet"
    if broken_off:
        monkeypatch.setattr(Brightness, "label_maps", broken_at_the_third(Brightness.label_maps))
        with pytest.raises(SegmenterError):
            areas_of(DrawnImages(generator, batch_size=7), out=out, batch_size=8)
        monkeypatch.undo()
    else:
        areas_of(DrawnImages(generator, batch_size=7), out=out)
    areas = areas_of(DrawnImages(generator, batch_size=8), out=out)
    np.testing.assert_array_equal(areas.pixels, whole.pixels)
    assert areas.provenance["images"][0]["drawn"]["batch_size"] == 7
    kept = DrawnImages(generator, batch_size=8, keep=tmp_path / "kept")
    areas_of(kept, out=out)
    drawn = DrawnImages(generator, batch_size=7)
    np.testing.assert_array_equal(kept.folder.read(39), drawn.read(39))


def broken_at_the_third(label_maps):
    calls = []

    def called(self, images, channel="object"):
        calls.append(len(images))
        if len(calls) == 3:
            raise RuntimeError("no more")
        return label_maps(self, images, channel)

    return called


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("spec", [pytest.param("progan", marks=pytest.mark.slow), "by_batch"])
def test_the_batch_size_changes_no_byte(spec, batch_size, tmp_path, request):
    spec = request.getfixturevalue(spec)
    areas_of(spec, tmp_path / "a.parquet")
    areas_of(spec, tmp_path / "b.parquet", batch_size=batch_size)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_generators_batch_size_changes_no_byte_either(progan, tmp_path, batch_size):
    generator = load_generator(progan)
    areas_of(DrawnImages(generator), tmp_path / "a.parquet")
    areas_of(DrawnImages(generator, batch_size=batch_size), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("spec", [pytest.param("progan", marks=pytest.mark.slow), "by_batch"])
def test_parts_are_the_whole_whatever_batch_they_cut(spec, request):
    spec = request.getfixturevalue(spec)
    whole = areas_of(spec)
    joined = unseen.concatenate([areas_of(spec, part=(i, 3)) for i in (1, 2, 3)])
    assert list(joined.names) == list(whole.names)
    np.testing.assert_array_equal(joined.pixels, whole.pixels)


def test_match_resolution_degrades_what_is_drawn(progan):
    generator = load_generator(progan)
    sharp, blurred = areas_of(generator), areas_of(generator, match_resolution=4)
    # blur moves pixels from the ends of the scale to its middle
    assert (blurred.fraction[:, [0, 63]].sum(1) < sharp.fraction[:, [0, 63]].sum(1)).mean() > 0.9


def test_image_k_is_latent_k_rounded_or_truncated():
    stream = np.random.RandomState(5).standard_normal((40, 2)).astype(np.float32)
    levels = (np.clip(stream[:, 0], -1, 1) + np.float32(1)) * np.float32(127.5)
    for rounding, expected in (("nearest", np.rint(levels)), ("truncate", np.trunc(levels))):
        images = DrawnImages(counting(), seed=5, rounding=rounding)
        drawn = [int(image[0, 0, 0]) for image in images.images([39, 0, 7])]
        assert drawn == expected[[39, 0, 7]].tolist()
        assert images.names[39] == "00000039.png"


@pytest.mark.parametrize("count", [1, 8, 9, 40])
def test_every_call_of_the_generator_has_one_shape(count):
    """In bf16 an image alone differs from itself among 32 by up to 0.04, on a CPU with AVX-512."""
    calls = []

    def draw(latents):
        calls.append(len(latents))
        return latents[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 16, 16)

    generator = unseen.FunctionGenerator(draw, 2, 16, {"weights_sha256": "1"})
    images = DrawnImages(generator, batch_size=8)
    areas_of(images, count=count)
    images.read(39)
    assert set(calls) == {8}


def test_workers_and_pickle_are_not_for_generators():
    generator = counting()
    generator.not_to_be_pickled = lambda: None
    assert len(areas_of(generator, workers=2)) == 40


# --- what the record says -----------------------------------------------------------------------


def test_the_record_says_what_drew_the_images(progan, by_batch):
    areas = areas_of(DrawnImages(load_generator(progan), seed=2, rounding="truncate"))
    (images,) = areas.provenance["images"]
    assert images["spec"] == progan
    assert images["drawn"]["seed"] == 2
    assert images["drawn"]["rounding"] == "truncate"
    assert len(images["drawn"]["generator"]["weights_sha256"]) == 64
    assert "batch_size" not in images["drawn"]
    assert areas_of(by_batch).provenance["images"][0]["drawn"]["batch_size"] == 32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 2}, "seed is 1 there, 2 here"),
        ({"rounding": "truncate"}, "rounding is nearest there, truncate here"),
        ({"generator": counting(weights_sha256="2")}, "weights_sha256 is 1 there, 2 here"),
    ],
)
def test_areas_of_other_drawings_are_not_taken_for_these(tmp_path, settings, message):
    out = tmp_path / "a.parquet"
    areas_of(DrawnImages(counting()), out)
    with pytest.raises(RecordError, match=message):
        areas_of(DrawnImages(**{"generator": counting(), **settings}), out)


def test_the_same_weights_elsewhere_are_the_same_areas(tmp_path):
    out = tmp_path / "a.parquet"
    areas_of(counting(spec="progan:a.pth?x=1"), out)
    again = counting(spec="progan:b/a.pth?x=1")
    areas_of(again, out)
    assert again.function.drawn == 0
    with pytest.raises(RecordError, match=r"x=1 there, progan\?x=2 here"):
        areas_of(counting(spec="progan:a.pth?x=2"), out)


def test_a_generator_that_does_not_name_its_weights_is_known_by_its_first_image(tmp_path):
    def of(scale):
        return unseen.FunctionGenerator(
            lambda z: scale * z[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 16, 16),
            latent_size=2,
            resolution=16,
        )

    out = tmp_path / "a.parquet"
    areas_of(of(0.2), out)
    areas_of(of(0.2), out)
    with pytest.raises(RecordError, match="fingerprint of images is"):
        areas_of(of(0.3), out)


# --- keeping the images -------------------------------------------------------------------------


def test_images_are_kept_as_sample_writes_them_and_not_drawn_again(progan, tmp_path):
    generator = load_generator(progan)
    folder, ours = tmp_path / "samples", tmp_path / "ours"
    sample(Sampling(generator=generator, out=folder, indices=range(40)))
    areas = areas_of(DrawnImages(generator, keep=ours))
    assert {p.name: p.read_bytes() for p in ours.iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }
    function = counting()
    areas_of(DrawnImages(function, keep=tmp_path / "c", batch_size=8), count=16)
    areas_of(DrawnImages(function, keep=tmp_path / "c", batch_size=8), count=40)
    assert function.function.drawn == 40
    np.testing.assert_array_equal(areas_of(DrawnImages(generator, keep=ours)).pixels, areas.pixels)


def test_areas_that_are_there_do_not_stand_for_images_that_are_not(tmp_path):
    out = tmp_path / "a.parquet"
    areas_of(counting(), out)
    segmenter = Brightness()
    images = DrawnImages(counting(), keep=tmp_path / "kept")
    segment(images, segmenter, out=out, count=40)
    assert segmenter.seen == 0
    assert len(list((tmp_path / "kept").glob("*.png"))) == 40


def test_kept_images_of_another_drawing_are_refused_or_replaced(tmp_path):
    keep = tmp_path / "kept"
    areas_of(DrawnImages(counting(), keep=keep))
    with pytest.raises(RecordError, match="seed is 1 there, 2 here"):
        areas_of(DrawnImages(counting(), seed=2, keep=keep))
    areas_of(DrawnImages(counting(), seed=2, keep=keep, overwrite=True), count=9)
    assert len(list(keep.glob("*.png"))) == 9


# --- bad input ----------------------------------------------------------------------------------


def test_a_generator_never_ends_so_a_count_is_needed(progan):
    with pytest.raises(ImageError, match=r"never ends; say how many images to take \(--count, or"):
        segment(progan, Brightness())


def test_what_is_no_image_stops_the_run_and_keeps_what_is_done(tmp_path, monkeypatch):
    def broken(latents):
        images = latents[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 16, 16).clone()
        images[latents[:, 0] > 2] = torch.nan  # 2 standard deviations: image 13 of seed 1
        return images

    generator = counting(spec="python:mine:make")
    generator = dataclasses.replace(generator, function=broken)
    monkeypatch.setattr(type(generator), "__call__", lambda self, z: self.function(z))
    stream = np.random.RandomState(1).standard_normal((100, 2))[:, 0]
    first = int(np.flatnonzero(stream > 2)[0])
    images = DrawnImages(generator, batch_size=4)
    message = f"python:mine:make drew values that are not finite in image {first}; try fp32"
    with pytest.raises(GeneratorError, match=message) as caught:
        areas_of(images, tmp_path / "a.parquet", count=100, batch_size=4)
    assert f"{first // 4 * 4} of 100 images are kept" in caught.value.__notes__[0]


def test_images_of_another_size_are_refused(monkeypatch):
    generator = counting(spec="mine")
    monkeypatch.setattr(type(generator), "__call__", lambda self, z: torch.zeros(len(z), 3, 8, 8))
    with pytest.raises(GeneratorError, match=r"mine drew images of shape \(32, 3, 8, 8\)"):
        areas_of(generator)


def test_settings_that_there_are_not_are_refused():
    with pytest.raises(SampleError, match="rounding 'up' is not known; known: nearest, truncate"):
        DrawnImages.__post_init__(types.SimpleNamespace(rounding="up"))  # past the tests' types
    with pytest.raises(SampleError, match="batches of 0 images"):
        DrawnImages(counting(), batch_size=0)
    with pytest.raises(SampleError, match="seed -1 is out of range"):
        areas_of(DrawnImages(counting(), seed=-1))


def test_only_a_generators_images_are_kept(tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    out = str(tmp_path / "a.parquet")
    keep = ["--keep-images", str(tmp_path / "kept")]
    assert unseen_command(["segment", str(tmp_path), out, *keep]) == 1
    assert "is images already, and only a generator's are kept" in capsys.readouterr().err
    with pytest.raises(SpecError, match="no side is a generator, so there are no drawn images"):
        run_comparison(
            ComparisonRun(
                real=str(tmp_path),
                generated=(str(tmp_path),),
                out=tmp_path / "o",
                keep_images=tmp_path / "kept",
            )
        )


# --- images or a generator ----------------------------------------------------------------------


MODULE = """
import numpy as np
import unseen
calls = []

def draws(device):
    calls.append(device)
    return unseen.FunctionGenerator(
        lambda z: z[:, :1, None, None].clamp(-1, 1), latent_size=2, resolution=16
    )

def reads(value="7"):
    return np.full((3, 16, 16, 3), int(value), np.uint8)

def neither():
    return 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    name = f"sides_of_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"python:{name}"


def test_what_a_users_factory_returns_tells_what_it_is(mine):
    drawn = Drawing().open(f"{mine}:draws")
    assert isinstance(drawn, DrawnImages)
    assert drawn.spec == f"{mine}:draws"
    assert sys.modules[mine.partition(":")[2]].calls == ["cpu"]  # a network is loaded once
    read = Drawing().open(f"{mine}:reads?value=9")
    assert (len(read.names), int(read.read(0)[0, 0, 0])) == (3, 9)
    assert len(areas_of(f"{mine}:reads", count=None)) == 3
    with pytest.raises(ImageError, match="no length"):
        Drawing().open(f"{mine}:neither")


def test_a_name_of_both_kinds_is_no_guess(monkeypatch):
    monkeypatch.setattr(sources, "plugin_names", lambda kind: ["both"])
    with pytest.raises(SpecError, match="both is the name of an image source and of a generator"):
        Drawing().open("both:file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("progam:church", r"no.* known spec; image sources: .*zip; generators: .*progan"),
        ("church.pth", r"church.pth is no set of images; .* e\.g\. progan:church\.pth"),
        ("photos", "photos does not exist"),
        ("progan:absent.pth", r"absent\.pth is neither a file nor a published name"),
    ],
)
def test_a_side_that_is_nothing_says_what_there_is(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "church.pth").write_bytes(b"")
    with pytest.raises((SpecError, ImageError), match=message):
        Drawing().open(text)


def test_the_churchyards_generators_have_its_segmenter(monkeypatch):
    known = {"images": ["churchyard"], "generators": ["churchyard-full"]}
    monkeypatch.setattr("unseen.distribution.segment.plugin_names", known.__getitem__)
    assert default_segmenter("churchyard?seed=1", "churchyard-full") == "churchyard"
    generator = counting(spec="churchyard-full")
    assert default_segmenter(DrawnImages(generator)) == "churchyard"
    assert default_segmenter("churchyard", "churchyard-photos") == "upp"  # a folder of that name
    assert default_segmenter("churchyard", "progan:church") == "upp"


# --- comparisons --------------------------------------------------------------------------------


SEGMENTER = "python:tests.generators.test_drawn_images:coarse"


def coarse():
    return Brightness(classes=4)  # statistics of 64 classes would take most of the time


def test_a_generator_is_compared_in_one_pass_and_shown(progan, tmp_path):
    real = tmp_path / "real"
    sample(Sampling(generator=load_generator(progan), out=real, indices=range(100, 130)))
    task = ComparisonRun(
        real=str(real),
        generated=(progan,),
        out=tmp_path / "out",
        segmenter=SEGMENTER,
        count=30,
        sample_seed=4,
        device="cpu",
        workers=0,
    )
    comparison = run_comparison(task)
    (side,) = comparison.generated
    assert side.provenance["images"][0]["drawn"]["seed"] == 4
    assert not any("occur on both sides" in text for text in comparison.caveats)
    images = DrawnImages(load_generator(progan), seed=4)
    for column, held in side.example_images.items():
        for one in held:
            label_map = np.asarray(Image.open(task.out / one.label_map))
            label = comparison.columns.index(column)
            assert (label_map == label).mean() == one.fraction  # what is shown is what was measured
            shown = np.asarray(Image.open(task.out / one.image)).transpose(2, 0, 1)
            np.testing.assert_array_equal(shown, images.read(int(one.name[:8])))
    assert not list(tmp_path.glob("out/**/*.json.parts"))
    page = unseen.report(task.out, comparison).read_text(encoding="utf-8")
    assert "weights_sha256" in page


def test_several_generators_keep_their_images_in_a_folder_each(progan, by_batch, tmp_path):
    task = ComparisonRun(
        real=progan,
        generated=(progan, by_batch),
        out=tmp_path / "out",
        segmenter=SEGMENTER,
        count=12,
        keep_images=tmp_path / "kept",
        generator_batch_size=5,
        pictures=False,
        device="cpu",
    )
    comparison = run_comparison(task)
    assert sorted(path.name for path in task.keep_images.iterdir()) == [
        "generated-1",
        "generated-2",
        "real",
    ]
    assert any("12 images are on both sides" in text for text in comparison.caveats)
    one = dataclasses.replace(task, real=str(tmp_path / "kept" / "real"), out=tmp_path / "two")
    one = dataclasses.replace(one, generated=(by_batch,), keep_images=tmp_path / "one")
    run_comparison(one)
    assert (tmp_path / "one" / "00000011.png").read_bytes() == (
        tmp_path / "kept" / "generated-2" / "00000011.png"
    ).read_bytes()


def test_a_missing_count_is_told_before_any_image_is_segmented(progan, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    command = ["compare", str(tmp_path), progan, "--out", str(out), "--segmenter", SEGMENTER]
    assert unseen_command(command) == 1
    assert "never ends; say how many images to take (--count" in capsys.readouterr().err
    assert not out.exists()


# --- killed: a real process ---------------------------------------------------------------------


@dataclasses.dataclass
class Slow(Brightness):
    """Leaves a letter for every image that it has seen, and takes its time in the process."""

    def label_maps(self, images, channel="object"):
        if "SLOW" in os.environ:
            time.sleep(0.05)
            with Path(os.environ["SLOW"]).open("a") as file:
                file.write("x" * len(images))
        return super().label_maps(images)


_COMMAND = """
import sys
from unseen.cli.main import run
sys.exit(run(["segment", sys.argv[1], sys.argv[2], "--segmenter", "python:test_drawn_images:Slow",
              "-n", "60", "--batch-size", "2", "--shard-size", "4",
              "--generator-batch-size", "5", "--device", "cpu"]))
"""


def start(spec, out, seen):
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, spec, str(out)],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "SLOW": str(seen)},
    )


@pytest.mark.parametrize("spec", [pytest.param("progan", marks=pytest.mark.slow), "by_batch"])
def test_killed_at_any_moment_it_ends_in_the_same_bytes(spec, tmp_path, request):
    spec = request.getfixturevalue(spec)
    out, seen, whole = tmp_path / "out.parquet", tmp_path / "seen", tmp_path / "whole.parquet"
    process = start(spec, out, seen)
    while process.poll() is None and not seen.exists():  # so that it falls into the work
        time.sleep(0.002)
    time.sleep(0.5)
    process.kill()
    process.wait()
    assert 0 < seen.stat().st_size < 60
    assert not out.exists()
    assert start(spec, out, seen).wait() == 0
    assert seen.stat().st_size <= 60 + 4 + 2  # a kill costs at most a shard of 4 and a batch
    assert start(spec, whole, tmp_path / "again").wait() == 0
    assert out.read_bytes() == whole.read_bytes()
