"""From a compared folder to the page, the labels, and the corrected record."""

import base64
import json
import re

import numpy as np
import pytest
from PIL import Image

from unseen.audit.correcting import correct
from unseen.audit.drawing import Auditing, draw_audit
from unseen.cli.main import run
from unseen.core.errors import RecordError, SpecError
from unseen.distribution.comparison import read_comparison
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.images.record_pictures import read_picture
from unseen.pages import report_folder

GREY = (30, 90, 200)  # of ground, of the class where the maps have it, and where they miss it


def write_side(folder, maps, seed, *, missed):
    """30 images of 16 pixels; a third holds the class, of which the maps miss a share."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    (maps / folder.name).mkdir()
    truth = {}
    for k in range(30):
        held = k % 3 == 0
        seen = held and random.random() >= missed
        picture = np.full((16, 16, 3), GREY[0], np.uint8)
        label_map = np.zeros((16, 16), np.uint8)
        if held:
            picture[:8] = GREY[1] if seen else GREY[2]
        if seen:
            label_map[:8] = 1
        name = f"{folder.name}-{k:02d}.png"
        truth[name] = held
        Image.fromarray(picture).save(folder / name)
        Image.fromarray(label_map).save(maps / folder.name / name)
    return truth


@pytest.fixture
def compared(tmp_path):
    """A compared folder, and which images hold the class."""
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "classes.txt").write_text("ground\nthing\n", encoding="utf-8")
    truth = write_side(tmp_path / "photos", maps, 0, missed=0.0)
    truth |= write_side(tmp_path / "fakes", maps, 1, missed=0.5)
    run_comparison(
        ComparisonRun(
            real=str(tmp_path / "photos"),
            generated=(str(tmp_path / "fakes"),),
            segmenter=f"maps:{maps}?resolution=16",
            out=tmp_path / "run",
            workers=0,
            pictures=False,
        )
    )
    return tmp_path / "run", truth


def csv_of(pictures, truth, path):
    lines = ["class,side,name,label,labeller"]
    lines += [f"thing,{p.side},{p.name},{'ny'[truth[p.name]]},ann" for p in pictures]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_sample_is_mixed_and_shows_the_images_of_their_names(compared):
    folder, truth = compared
    name, pictures = draw_audit(folder, "thing", Auditing(count=20))
    assert name == "thing"
    sides = [picture.side for picture in pictures]
    assert sides.count("real") == sides.count("generated-1") == 20
    assert sides != sorted(sides)
    for picture in pictures:
        assert (picture.image.max() > GREY[0]) == truth[picture.name]
    again = draw_audit(folder, "thing", Auditing(count=20))[1]
    assert [p.name for p in again] == [p.name for p in pictures]


def test_labels_correct_the_record_and_the_page_shows_what_was_missed(compared, tmp_path):
    folder, truth = compared
    _, pictures = draw_audit(folder, "thing", Auditing(count=30))
    before = read_comparison(folder).generated[0].classes
    comparison, missing = correct(folder, [csv_of(pictures, truth, tmp_path / "ann.csv")])
    assert missing == []
    assert read_comparison(folder) == comparison
    row = next(row for row in comparison.generated[0].classes if row.name == "thing")
    assert row.ratio == pytest.approx(1.0)  # all images are labelled: ten of 30 on both sides
    assert row.audit.segmenter.ratio == next(r for r in before if r.name == "thing").ratio
    assert not row.audit.real.missed
    assert row.audit.generated.missed
    for kept in row.audit.generated.missed:
        assert read_picture(folder, kept.image).max() == GREY[2]
    page = report_folder(folder, single_file=True).read_text(encoding="utf-8")
    assert "Checked by hand" in page
    assert "audit-pictures" in page  # by its name, of the picture that the file holds


def test_compare_takes_the_same_labels(compared, tmp_path):
    folder, truth = compared
    pictures = draw_audit(folder, "thing", Auditing(count=30))[1]
    labels = csv_of(pictures, truth, tmp_path / "ann.csv")
    corrected, _ = correct(folder, [labels])
    task = ComparisonRun(
        real=str(tmp_path / "photos"),
        generated=(str(tmp_path / "fakes"),),
        segmenter=f"maps:{tmp_path / 'maps'}?resolution=16",
        out=folder,
        workers=0,
        audit=(labels,),
    )
    row, again = (
        next(row for row in record.generated[0].classes if row.name == "thing")
        for record in (corrected, run_comparison(task))
    )
    assert (again.ratio, again.interval, again.verdict) == (row.ratio, row.interval, row.verdict)
    kept = again.audit.generated.missed
    assert [image.name for image in kept] == [image.name for image in row.audit.generated.missed]
    assert all(image.label_map is not None for image in kept)  # those of `compare` have them


def test_the_command_writes_a_page_that_hides_names_and_takes_the_labels(compared, tmp_path):
    folder, truth = compared
    assert run(["audit", str(folder), "--class", "thing", "--count", "30"]) == 0
    page = (folder / "audit-thing.html").read_text(encoding="utf-8")
    assert "fakes-00.png" not in page
    keys = re.findall(r'"key":"([^"]+)"', page)
    assert len(keys) == 60
    named = [json.loads(base64.b64decode(key)) for key in keys]
    assert {name for _, name in named} == set(truth)
    pictures = draw_audit(folder, "thing", Auditing(count=30))[1]
    labels = csv_of(pictures, truth, tmp_path / "ann.csv")
    assert run(["audit", str(folder), "--labels", str(labels)]) == 0
    assert run(["audit", str(folder)]) == 1


def test_images_that_changed_and_classes_that_are_not_there_are_refused(compared, tmp_path):
    folder, _ = compared
    with pytest.raises(SpecError, match="unicorn"):
        draw_audit(folder, "unicorn")
    Image.new("RGB", (16, 16)).save(tmp_path / "photos" / "photos-00.png")
    with pytest.raises(RecordError, match="photos"):
        draw_audit(folder, "thing")
