import dataclasses
import gc
import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.support.inversion_worlds import tiny_generator, tiny_inverter
from tests.support.kills import killed_while_writing

from unseen.cli.invert import FAILED
from unseen.cli.main import run
from unseen.core.errors import CheckpointError, ImageError, RecordError, SpecError, StorageError
from unseen.core.files import write_aside
from unseen.engines.engine import Engine
from unseen.inversion.inversions import read_inversions
from unseen.inversion.invert import InversionRun, default_perceptual, invert, preset_for
from unseen.inversion.inverter_file import write_inverter
from unseen.inversion.methods import Inversion, Problem
from unseen.inversion.optimise import Adam

FEW = Inversion(
    perceptual="none", optimiser=Adam(steps=12, learning_rate=0.05, momentum=0.95, falling=True)
)
TREE = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path):
    """Five photographs: 16×16 like the generator's, and one that is not."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(5):
        side = 40 if number == 3 else 16
        pixels = rng.integers(0, 256, (side, side + 8 * (number == 3), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def task(**changes):
    return InversionRun(**{"settings": FEW, "batch_size": 2} | changes)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_photographs_and_controls_are_inverted_into_a_folder(generator, inverter, photos, tmp_path):
    said, reports = [], []
    record = invert(
        photos,
        generator,
        inverter,
        out=tmp_path / "out",
        task=task(methods=("f", "d"), controls=3),
        progress=lambda done, total: reports.append((done, total)),
        say=said.append,
    )
    assert record.methods == ("d", "f")
    assert [(one.role, one.number, one.name) for one in record.images] == [
        *(("photograph", i, f"{i}.png") for i in range(5)),
        *(("control", i, f"seed 30003, index {i}") for i in range(3)),
    ]
    assert record.images[3].size == (40, 48)
    assert said == [
        "3.png is 48×40; images of other sizes are resized to 16×16: shorter side to the "
        "resolution, then the centre crop"
    ]
    assert reports == [(done, 16) for done in (0, 2, 4, 6, 8, 9, 10, 12, 14, 15, 16)]  # by batch
    settings = record.provenance["settings"]
    assert settings["f"]["perturbed"] == ["layer1", "layer2", "layer3", "layer4"]
    assert (settings["f"]["cut"], settings["d"]["perturbed"]) == ("layer4", [])
    assert record.provenance["images"]["preparation"].startswith("shorter side to the resolution")
    control = record.of("control")[1]
    tensors = record.tensors(control, "f")
    own = generator.latents([1], seed=30_003)
    assert np.array_equal(tensors["true_latents"], own[0].numpy())
    expected = generator(own)[0].numpy()
    # the target is the image as a saved PNG: half a level of 8 bits
    assert np.abs(record.target(control) / 127.5 - 1 - expected).max() <= 0.5 / 127.5 + 1e-6
    result = control.reconstructions["f"]
    rebuilt = tensors["reconstruction"]
    assert np.abs(record.reconstruction(control, "f") / 127.5 - 1 - rebuilt).max() <= 0.51 / 127.5
    target = record.target(control) / 127.5 - 1
    assert result.terms["pixel"] == pytest.approx(np.abs(target - rebuilt).mean(), rel=1e-4)
    assert result.correlation == pytest.approx(
        np.corrcoef(target.ravel(), rebuilt.ravel())[0, 1], abs=1e-5
    )
    cosine = (target * rebuilt).sum() / np.sqrt((target**2).sum() * (rebuilt**2).sum())
    assert result.cosine == pytest.approx(cosine, abs=1e-5)
    assert result.loss < control.reconstructions["d"].loss
    assert set(tensors) == {
        "latents",
        "features",
        "reconstruction",
        "true_latents",
        *(f"delta.layer{i}" for i in range(1, 5)),
    }


def test_the_record_does_not_depend_on_the_batch_size(generator, inverter, photos, tmp_path):
    records = [
        invert(
            photos,
            generator,
            inverter,
            out=tmp_path / str(size),
            task=task(batch_size=size, methods=("a", "f")),
        )
        for size in (1, 2, 5)
    ]
    for one in records[1:]:
        for image, other in zip(records[0].images, one.images, strict=True):
            for method in ("a", "f"):
                losses = [each.reconstructions[method].loss for each in (image, other)]
                assert losses[0] == pytest.approx(losses[1], rel=0.01)


def test_without_a_folder_the_record_keeps_a_temporary_one(generator, inverter, photos):
    record = invert(photos, generator, inverter, task=task(count=1))
    assert record.reconstruction(record.images[0], "f").shape == (3, 16, 16)
    folder = record.folder
    del record
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("moment", [1, 3, 5, 7])  # of 22 files, the third, ninth, …
def test_a_run_that_broke_off_goes_on_and_ends_in_the_same_bytes(
    generator, inverter, photos, tmp_path, monkeypatch, moment
):
    whole = invert(photos, generator, inverter, out=tmp_path / "whole", task=task(controls=2))
    writes = []

    def broken(path):
        writes.append(path)
        if len(writes) == moment * 3:
            raise KeyboardInterrupt
        return write_aside(path)

    with monkeypatch.context() as patch:
        for module in ("inversion.inversions", "images.record_pictures"):
            patch.setattr(f"unseen.{module}.write_aside", broken)
        with pytest.raises(KeyboardInterrupt) as raised:
            invert(photos, generator, inverter, out=tmp_path / "out", task=task(controls=2))
    if raised.value.__notes__:
        assert "of 7 reconstructions are kept in" in raised.value.__notes__[0]
    invert(photos, generator, inverter, out=tmp_path / "out", task=task(controls=2))
    assert files(whole.folder) == files(tmp_path / "out")


def test_what_a_kill_left_half_written_is_gone_when_the_run_has_gone_on(
    generator, inverter, photos, tmp_path
):
    whole = invert(photos, generator, inverter, out=tmp_path / "whole", task=task())
    invert(photos, generator, inverter, out=tmp_path / "out", task=task())
    for name in (
        "inversions.json",
        "images/photograph/00001.png",
        "tensors/f/photograph/00001.safetensors",
    ):
        killed_while_writing(tmp_path / "out" / name)
    assert files(whole.folder) != files(tmp_path / "out")
    invert(photos, generator, inverter, out=tmp_path / "out", task=task())
    assert files(whole.folder) == files(tmp_path / "out")


def test_a_full_disk_is_said_and_what_was_finished_is_kept(
    generator, inverter, photos, tmp_path, monkeypatch
):
    calls = []

    def full(path):
        calls.append(path)
        if len(calls) > 14:
            raise StorageError(f"the disk is full while writing {path}")
        return write_aside(path)

    with monkeypatch.context() as patch:
        for module in ("inversion.inversions", "images.record_pictures"):
            patch.setattr(f"unseen.{module}.write_aside", full)
        with pytest.raises(StorageError) as raised:
            invert(photos, generator, inverter, out=tmp_path / "out", task=task())
    kept = len(read_inversions(tmp_path / "out").images)
    assert kept >= 1
    assert raised.value.__notes__ == [f"{kept} of 5 reconstructions are kept in {tmp_path / 'out'}"]


class InTurn(Engine):
    """Sends the work as to other processes, and has it done here, the last block first."""

    apart = True

    def carry_out(self, work, shards, done, total, progress, **_):
        make = pickle.loads(pickle.dumps(work)).open("cpu")
        for shard in reversed(shards):
            make(shard, lambda made, before=done: progress(before + made, total))
            done += len(shard)


def test_blocks_that_several_processes_make_end_in_the_bytes_of_one(
    generator, inverter, photos, tmp_path
):
    def run(out, changes=MappingProxyType({}), **given):
        settings = dataclasses.replace(FEW, perceptual="inverter")  # several terms of the loss
        of_both = {"settings": settings, "methods": ("d", "f"), "count": 3, "controls": 1}
        asked = task(**of_both, curve=("layer1",), **changes)
        return invert(photos, generator, inverter, out=out, task=asked, **given)

    whole = run(tmp_path / "whole")
    assert len(whole.images) == 4
    reports = []
    run(
        tmp_path / "apart",
        engine=InTurn(),
        progress=lambda done, total: reports.append((done, total)),
    )
    assert files(tmp_path / "apart") == files(tmp_path / "whole")
    assert reports[-1] == (12, 12)  # 4 images by two methods, and by f for the curve
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)

    for number in (3, 1):
        part = run(tmp_path / "parts", changes={"part": (number, 3)})
        assert not part.complete
    assert 0 < len(part.images) < 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.png")}
    run(tmp_path / "parts")
    made = files(tmp_path / "parts")
    assert made.pop("workers.json")
    assert made == files(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_worker_whose_photographs_or_run_are_others_is_refused(
    generator, inverter, photos, tmp_path
):
    class Spoilt(InTurn):
        def carry_out(self, work, shards, *given, **options):
            if photos.exists():
                Image.new("RGB", (16, 16)).save(photos / "0.png")
            super().carry_out(work, shards, *given, **options)

    def run(engine, out="a"):
        return invert(photos, generator, inverter, out=tmp_path / out, task=task(), engine=engine)

    with pytest.raises(ImageError, match="names, sizes or times"):
        run(Spoilt())

    class Gone(InTurn):
        def carry_out(self, work, shards, *given, **options):
            make = work.open("cpu")
            shutil.rmtree(tmp_path / "b")
            make(shards[0], lambda _: None)

    with pytest.raises(RecordError, match="holds no run"):
        run(Gone(), "b")


def test_other_settings_in_the_same_folder_are_refused(generator, inverter, photos, tmp_path):
    invert(photos, generator, inverter, out=tmp_path / "out", task=task(count=2))
    with pytest.raises(RecordError, match=r"regularisation is 1\.0 there, 2\.0 here"):
        invert(
            photos,
            generator,
            inverter,
            out=tmp_path / "out",
            task=task(count=2, settings=Inversion(**{**vars(FEW), "regularisation": 2.0})),
        )
    other = tiny_generator(seed=1)
    other.provenance = {"spec": "tiny", "weights_sha256": "2" * 64}
    with pytest.raises(RecordError, match="weights_sha256 is null there, 2222"):
        invert(photos, other, inverter, out=tmp_path / "out", task=task(count=2))


def test_broken_photographs_stop_the_run_or_are_listed(generator, inverter, photos, tmp_path):
    (photos / "2.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"2\.png") as raised:
        invert(photos, generator, inverter, out=tmp_path / "out", task=task())
    assert raised.value.__notes__ == [f"2 of 5 reconstructions are kept in {tmp_path / 'out'}"]
    record = invert(photos, generator, inverter, out=tmp_path / "out", task=task(skip_broken=True))
    assert [one.name for one in record.images] == ["0.png", "1.png", "3.png", "4.png"]
    assert list(record.skipped) == ["2.png"]
    again = invert(photos, generator, inverter, out=tmp_path / "out", task=task(skip_broken=True))
    assert again == record


def test_whole_frames_are_squashed_where_that_is_asked_for(generator, inverter, photos, tmp_path):
    record = invert(
        str(photos), generator, inverter, out=tmp_path / "run", task=task(methods="d", fit="squash")
    )
    frame = next(image for image in record.images if image.name == "3.png")
    with Image.open(photos / "3.png") as image:
        whole = image.resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(record.target(frame), np.moveaxis(np.asarray(whole), -1, 0))
    with pytest.raises(RecordError, match="preparation"):
        invert(str(photos), generator, inverter, out=tmp_path / "run", task=task(methods="d"))
    with pytest.raises(SpecError, match="pad"):
        task(fit="pad")


def test_settings_that_make_no_run_are_refused():
    with pytest.raises(SpecError, match="batch_size"):
        task(batch_size=0)
    with pytest.raises(SpecError, match="methods are none; name some of a, b"):
        task(methods=())


def test_the_churchyard_is_compared_by_its_own_segmenter_and_the_rest_by_vgg():
    assert default_perceptual("churchyard?seed=3") == "segmenter"
    assert default_perceptual("photos") == "vgg16"
    for preset in ("default", "quick"):
        assert preset_for("churchyard?seed=3", preset).perceptual == "segmenter"
    assert preset_for("churchyard?seed=3", "iccv2019-z").perceptual == "latents"
    assert (
        preset_for("photos", "quick").optimiser.steps
        < preset_for("photos", "default").optimiser.steps
    )
    run = InversionRun(settings="iccv2019")
    assert run.of("e", "churchyard?seed=3").perceptual == "vgg16"
    assert InversionRun().of("e", "churchyard?seed=3").perceptual == "segmenter"


# --- the command, in this process and in its own -------------------------------------------------


def save_generator(generator, path):
    state = generator.network.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)


@pytest.fixture
def weights(generator, inverter, tmp_path):
    save_generator(generator, tmp_path / "generator.safetensors")
    write_inverter(inverter, tmp_path / "inverter.safetensors")
    return tmp_path


def arguments(folder, *more, perceptual="none"):
    return [
        "invert",
        str(folder / "photos"),
        "--generator",
        f"progan:{folder / 'generator.safetensors'}",
        "--inverter",
        str(folder / "inverter.safetensors"),
        "--out",
        str(folder / "out"),
        "--perceptual",
        perceptual,
        "--steps",
        "12",
        "--no-evidence",
        "--device",
        "cpu",
        *more,
    ]


def test_the_command_sums_up_what_it_did(photos, weights, capsys):
    assert run(arguments(weights, "--controls", "2", "--method", "d,f")) == 0
    output, errors = capsys.readouterr()
    for method in ("d", "f"):
        assert f"method {method}: 5 photographs: loss 0." in output
        assert f"method {method}: 2 controls: loss 0." in output
    assert "resized to 16×16" in errors
    assert errors.count("\n") == 1


def test_parts_of_the_command_are_joined_by_the_command_without_a_part(photos, weights, capsys):
    for part in ("2/2", "1/2"):
        assert run(arguments(weights, "--batch-size", "2", "--part", part)) == 0
    output, _ = capsys.readouterr()
    assert "3 reconstructions there so far" in output  # of the batches of 2, 2 and 1 the last two
    assert "5 reconstructions there so far" in output
    assert not read_inversions(weights / "out").complete
    assert run(arguments(weights, "--batch-size", "2")) == 0
    assert read_inversions(weights / "out").complete
    assert not (weights / "out" / "entries").exists()


def test_an_image_that_fails_is_named_and_the_status_says_so(photos, weights, capsys, monkeypatch):
    ordinary = tiny_generator().network[-1].__class__.forward

    def spoilt(self, features):
        """NaN for what is drawn where the third photograph's loss is looked for."""
        images = ordinary(self, features)
        return images * torch.where(spoilt.rows[: len(images)], torch.nan, 1.0)[:, None, None, None]

    spoilt.rows = torch.tensor([False] * 64)
    monkeypatch.setattr(tiny_generator().network[-1].__class__, "forward", spoilt)
    draw = Problem._draw

    def marked(self, points, rows):
        brightest = self.images[rows].flatten(1).sum(1)
        spoilt.rows = brightest == chosen
        if len(rows) == 1:
            spoilt.rows = spoilt.rows.repeat(2)
        drawn = draw(self, points, rows)
        spoilt.rows = torch.tensor([False] * 64)
        return drawn

    monkeypatch.setattr(Problem, "_draw", marked)
    pixels = np.asarray(Image.open(photos / "2.png")).transpose(2, 0, 1).astype(np.float32)
    chosen = torch.from_numpy(pixels / np.float32(127.5) - np.float32(1)).flatten().sum()
    assert run(arguments(weights)) == FAILED
    output, errors = capsys.readouterr()
    assert "failed: 2.png by f: the loss is not a number after 0 steps" in errors
    assert "method f: 4 photographs, 1 failed: loss" in output
    record = json.loads((weights / "out" / "inversions.json").read_text())
    assert record["images"][2]["reconstructions"]["f"]["failed"] is not None


@pytest.mark.parametrize(
    ("more", "status", "named"),
    [
        (["--method", "g"], 2, "'g'"),
        (["--method", "b"], 1, "method b"),
        (["--preset", "fast"], 1, "'fast'"),
        (["--cut", "layer9"], 1, "'layer9'"),
        (["--perturbed", "7"], 1, "there are 4"),
    ],
)
def test_what_does_not_go_together_is_one_line(photos, weights, capsys, more, status, named):
    assert run(arguments(weights, *more)) == status
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert named in errors


def test_features_of_a_segmenter_that_is_not_here_are_refused(photos, weights, capsys, monkeypatch):
    monkeypatch.setenv("UNSEEN_OFFLINE", "1")
    assert run(arguments(weights, perceptual="segmenter")) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_another_generators_inverter_is_refused_by_its_hash(generator, photos, weights):
    save_generator(tiny_generator(seed=1), weights / "generator.safetensors")
    provenance = {"generator_tensors_sha256": "0" * 64}
    inverter = tiny_inverter(generator)
    inverter.provenance = provenance
    write_inverter(inverter, weights / "inverter.safetensors")
    with pytest.raises(CheckpointError, match="inverts another generator of the same shapes"):
        invert(
            photos,
            f"progan:{weights / 'generator.safetensors'}",
            weights / "inverter.safetensors",
            task=task(),
        )


def test_an_inverter_of_other_shapes_is_refused(generator, photos, weights, capsys):
    save_generator(tiny_generator(widths=(16, 8, 8, 8)), weights / "generator.safetensors")
    assert run(arguments(weights)) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "inverter.safetensors" in errors
    assert not (weights / "out").exists()


_SLOW = """
import sys, time
import unseen.inversion.invert as pipeline
keep = pipeline._Run._keep
def slow(self, *given):
    time.sleep(float(sys.argv[1]))
    keep(self, *given)
pipeline._Run._keep = slow
from unseen.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


def start(folder, seconds, *more):
    return subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(seconds), *arguments(folder, "--batch-size", "2", *more)],
        cwd=TREE,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kept(folder):
    path = folder / "out" / "entries.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def wait(process, condition, seconds=60):
    end = time.monotonic() + seconds
    while process.poll() is None and not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_bytes(photos, weights, kills):
    start(weights, 0, "--controls", "2").communicate(timeout=120)
    (weights / "out").rename(weights / "whole")
    chance = random.Random(7)
    for _ in range(kills):
        before = kept(weights)
        process = start(weights, 0.1, "--controls", "2")
        if kills == 1 or chance.random() < 0.3:  # else anywhere, from the import of torch on
            wait(process, lambda before=before: kept(weights) > before)
            time.sleep(chance.uniform(0, 0.3))
        else:
            time.sleep(chance.uniform(0, 6))
        process.kill()
        process.communicate()
    process = start(weights, 0, "--controls", "2")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert files(weights / "out") == files(weights / "whole")


@pytest.mark.timeout(120)
def test_ctrl_c_says_how_to_go_on(photos, weights):
    process = start(weights, 0.3)
    wait(process, lambda: kept(weights) > 0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "of 5 reconstructions are kept in" in errors
    assert errors.rstrip().endswith("run the same command again to go on")
