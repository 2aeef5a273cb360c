"""Samples: by index, resumable, as a folder or a zip, and refused where something else is."""

import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.kills import killed_while_writing

import unseen
from unseen.cli.main import run
from unseen.core.errors import RecordError, SampleError, StorageError
from unseen.core.lock import LOCK, locked
from unseen.generators.sample import Sampling, parse_indices, sample, sample_grid
from unseen.images import left_out, open_images


class Counting:
    """Draws an image of one brightness, the latent's first number, and counts what it drew."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        self.drawn += len(latents)
        return latents[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 4, 4)


def generator(function: Any = None, **provenance: Any) -> unseen.FunctionGenerator:
    return unseen.FunctionGenerator(
        function or Counting(), latent_size=2, resolution=4, provenance=provenance
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def task(out: Path, indices: str = "0-9", **settings: Any) -> Sampling:
    settings.setdefault("generator", generator())
    return Sampling(out=out, indices=parse_indices(indices), **settings)


def test_image_k_is_latent_k_clamped_and_rounded(tmp_path: Path) -> None:
    sample(task(tmp_path / "s", "2,5-6"))
    stream = np.random.RandomState(1).standard_normal((7, 2)).astype(np.float32)
    for index in (2, 5, 6):
        pixels = np.asarray(Image.open(tmp_path / "s" / f"{index:08}.png"))
        level = np.rint((np.clip(stream[index, 0], -1, 1) + 1) * 127.5)
        assert pixels.shape == (4, 4, 3)
        assert set(pixels.ravel().tolist()) == {int(level)}


@pytest.mark.parametrize("cuts", [["0-9"], ["0-3", "0-9"], ["7-9", "4", "0-3,5-6"]])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_folder_made_in_parts_is_the_folder_made_at_once(
    tmp_path: Path, cuts: list[str], batch_size: int
) -> None:
    sample(task(tmp_path / "whole"))
    for cut in cuts:
        sample(task(tmp_path / "parts", cut, batch_size=batch_size))
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_what_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    sample(task(tmp_path / "s", "0-5"))
    function = Counting()
    seen: list[tuple[int, int]] = []
    again = task(tmp_path / "s", generator=generator(function), batch_size=3)
    sample(again, progress=lambda done, total: seen.append((done, total)))
    assert function.drawn == 6  # images 6 to 9, in two batches of 3, the second filled up
    assert seen == [(6, 10), (9, 10), (10, 10)]  # what was there is no part of the rate


def test_a_zip_holds_the_same_images_and_a_dataset_json(tmp_path: Path) -> None:
    sample(task(tmp_path / "s"))
    out = sample(task(tmp_path / "s.zip"))
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        assert json.loads(archive.read("dataset.json")) == {"labels": None}
        assert archive.read("sample.json") == (tmp_path / "s" / "sample.json").read_bytes()
        third = archive.read("00000/img00000003.png")
    assert third == (tmp_path / "s" / "00000003.png").read_bytes()
    assert len(names) == 12
    assert len(open_images(out).names) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s.zip"]  # no parts left


def test_a_zip_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    class Stopping(Counting):
        def __call__(self, latents: torch.Tensor) -> torch.Tensor:
            if self.drawn >= 6:
                raise KeyboardInterrupt
            return super().__call__(latents)

    whole = sample(task(tmp_path / "whole.zip", batch_size=3)).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        sample(task(tmp_path / "cut.zip", generator=generator(Stopping()), batch_size=3))
    assert not (tmp_path / "cut.zip").exists()
    function = Counting()
    sample(task(tmp_path / "cut.zip", generator=generator(function), batch_size=3))
    assert function.drawn == 6  # six of ten were kept; two batches of 3, the second filled up
    assert (tmp_path / "cut.zip").read_bytes() == whole


def test_a_zip_that_was_killed_after_its_rename_is_finished(tmp_path: Path) -> None:
    out = sample(task(tmp_path / "s.zip"))
    whole = out.read_bytes()
    sample(task(tmp_path / "s.zip.parts"))  # what the kill left
    killed_while_writing(tmp_path / "s.zip.parts" / "s.zip")
    function = Counting()
    assert sample(task(out, generator=generator(function))) == out
    assert function.drawn == 0
    assert out.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(StorageError, match="is there already"):
        sample(task(out, "0-4"))
    with pytest.raises(StorageError, match="is there already"):
        sample(task(out, seed=2))
    assert out.read_bytes() == whole


def test_leftovers_of_a_kill_go_and_those_of_a_live_run_stay(tmp_path: Path) -> None:
    sample(task(tmp_path / "s", "0-4"))
    killed_while_writing(tmp_path / "s" / "00000007.png")
    with locked(tmp_path / "s" / LOCK):  # another run is writing images
        live = tmp_path / "s" / ".unseen-aside-live"
        live.write_bytes(b"")
        thread = threading.Thread(target=sample, args=(task(tmp_path / "s"),))
        thread.start()
        thread.join(0.5)
        assert live.exists()
    thread.join()
    assert len(files(tmp_path / "s")) == 11  # ten images and the header


def test_a_name_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    function = Counting()
    for name in ("a" * 300, "a" * 252 + ".zip", "\udcff"):
        with pytest.raises(StorageError):
            sample(task(tmp_path / name, generator=generator(function)))
    assert function.drawn == 0


@pytest.mark.parametrize(
    ("settings", "differing"),
    [({"seed": 2}, "seed"), ({"rounding": "truncate"}, "rounding")],
)
def test_another_sample_in_the_same_folder_is_refused_or_replaced(
    tmp_path: Path, settings: dict[str, Any], differing: str
) -> None:
    sample(task(tmp_path / "s"))
    with pytest.raises(RecordError, match=f"{differing} is"):
        sample(task(tmp_path / "s", "0-1", **settings))
    sample(task(tmp_path / "s", "0-1", overwrite=True, **settings))
    assert sorted(files(tmp_path / "s")) == ["00000000.png", "00000001.png", "sample.json"]


def test_another_generator_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    sample(task(tmp_path / "s", generator=generator(weights_sha256="a")))
    with pytest.raises(RecordError, match="weights_sha256 is a there, b here"):
        sample(task(tmp_path / "s", generator=generator(weights_sha256="b")))


def test_batch_norm_by_the_batch_is_finished_with_the_batch_size_it_began_with(
    tmp_path: Path,
) -> None:
    sample(task(tmp_path / "whole", generator=generator(batch_norm="batch"), batch_size=5))
    sample(task(tmp_path / "s", "0-6", generator=generator(batch_norm="batch"), batch_size=5))
    function = Counting()
    by_batch = generator(function, batch_norm="batch")
    sample(task(tmp_path / "s", generator=by_batch, batch_size=2))
    assert function.drawn == 5  # the batch of 5 to 9
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_the_same_weights_elsewhere_go_on_with_a_folder(tmp_path: Path) -> None:
    first = {"spec": "progan:a.pth?x=1", "weights_sha256": "a"}
    sample(task(tmp_path / "s", "0-5", generator=generator(**first)))
    sample(task(tmp_path / "s", generator=generator(**first | {"spec": "progan:b/a.pth?x=1"})))
    with pytest.raises(RecordError, match=r"progan\?x=2 here"):
        sample(task(tmp_path / "s", generator=generator(**first | {"spec": "progan:a.pth?x=2"})))


def test_a_run_that_was_killed_at_its_very_beginning_goes_on(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "s" / "sample.json")
    sample(task(tmp_path / "s"))
    assert len(list((tmp_path / "s").glob("0*.png"))) == 10


def test_photographs_are_never_taken_for_samples(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"not empty and holds no sample\.json"):
        sample(task(tmp_path, overwrite=True))
    with pytest.raises(StorageError, match=r"photo\.png"):
        sample(task(tmp_path / "photo.png"))
    (tmp_path / "photos.zip").write_bytes(b"mine")
    with pytest.raises(StorageError, match="is there already"):
        sample(task(tmp_path / "photos.zip"))
    assert (tmp_path / "photo.png").read_bytes() == b"mine"


@pytest.mark.parametrize("text", ["", "5-2", "a", "1-2-3", "-4", "0-5,3", "1.5"])
def test_indices_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SampleError, match=r"are no indices|an index twice"):
        parse_indices(text)


def test_a_grid_shows_the_images_row_by_row(tmp_path: Path) -> None:
    sample(task(tmp_path / "s"))
    sample_grid(generator(), tmp_path / "grid.png", indices=range(10), columns=4)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (3 * 4, 4 * 4, 3)  # three rows for ten images
    sixth = np.asarray(Image.open(tmp_path / "s" / "00000006.png"))
    np.testing.assert_array_equal(grid[4:8, 8:12], sixth)
    assert not grid[8:, 8:].any()


def test_a_grid_of_no_kind_of_picture_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "s"
    for grid in ("grid.xyz", "grid", "a" * 300 + ".png"):
        assert run(["sample", "churchyard-full", str(out), "--grid", str(tmp_path / grid)]) == 1
    assert not out.exists()


@pytest.mark.parametrize("grid", ["grid.png", "grid.jpg", "grid.webp", "00000000.png"])
def test_a_grid_is_not_put_among_images(tmp_path: Path, grid: str) -> None:
    photos, sheets = tmp_path / "photos", tmp_path / "sheets"
    photos.mkdir()
    Image.new("RGB", (4, 4)).save(photos / "a.png")
    with pytest.raises(StorageError, match=grid if grid.startswith("0") else r"a\.png"):
        sample_grid(generator(), photos / grid, indices=range(4))
    assert [path.name for path in photos.iterdir()] == ["a.png"]
    if not grid.startswith("0"):
        for name in (grid, f"second-{grid}", grid):  # beside other grids, and again
            sample_grid(generator(), sheets / name, indices=range(4))
        sample(task(tmp_path / "s"))
        sample_grid(generator(), tmp_path / "s" / grid, indices=range(4))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_grid_below_a_folder_of_images_is_none_of_them(tmp_path: Path, ending: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("first", "second"):
        sample_grid(generator(), tmp_path / "sheets" / f"{name}.{ending}", indices=range(4))
    with pytest.warns(UserWarning, match="written by unseen"):
        source = open_images(tmp_path)
    assert list(source.names) == ["a.png"]
    assert left_out(source)["written by unseen"]["count"] == 2


def test_the_command_draws_and_says_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unseen.cli.sample.load_generator", lambda *_, **__: generator())
    out, grid = tmp_path / "s", tmp_path / "grid.png"
    assert run(["sample", "any", str(out), "--indices", "0-4", "--grid", str(grid)]) == 0
    assert capsys.readouterr().out == f"{out}: 5 images\n{grid}: the first 5\n"
    assert len(open_images(out).names) == 5
