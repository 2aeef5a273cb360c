"""Figures for a paper: sizes, text that stays text, what is shown, and what is refused."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from tests.support.evidence_world import evidence_world
from tests.support.worlds import areas, run

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import RecordError, SpecError
from unseen.core.figure_style import WIDTHS
from unseen.pages.figures import FIGURE_KINDS

PRESENCE = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}
LABELS = ["LSUN", "ProGAN"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a comparison and evidence."""
    folder = tmp_path_factory.mktemp("run")
    real = areas(60, PRESENCE, seed=0, name="photos")
    run(folder, real, [areas(60, {**PRESENCE, "person": 0.0}, seed=1, name="fakes")])
    evidence_world(folder)
    return folder


def texts(file):
    return re.findall(r"<text[^>]*>([^<]*)</text>", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("kind", "width"),
    list(zip(FIGURE_KINDS, itertools.cycle(["column", "page"]), strict=False)),
)
def test_every_kind_has_the_width_asked_for_and_its_text_stays_text(folder, tmp_path, kind, width):
    pdf, svg, png = (tmp_path / f"figure.{ending}" for ending in ("pdf", "svg", "png"))
    unseen.figure(kind, folder, pdf, svg, png, width=width, labels=LABELS)
    points = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf.read_bytes())
    assert float(points[1]) == pytest.approx(72 * WIDTHS[width], abs=0.01)
    assert b"/Type3" not in pdf.read_bytes()  # venues refuse fonts of this kind
    assert b"/FontFile2" in pdf.read_bytes()
    said = " ".join(texts(svg))
    assert said
    assert "FSD" not in said
    assert "photos" not in said
    again = tmp_path / "again.pdf"
    unseen.figure(kind, folder, again, width=width, labels=LABELS)
    assert again.read_bytes() == pdf.read_bytes()


@pytest.mark.parametrize("kind", ["histogram", "intervals"])
def test_a_comparison_is_drawn_of_the_classes_asked_for_under_its_labels(folder, tmp_path, kind):
    svg = tmp_path / "a.svg"
    unseen.figure(kind, folder, svg, width="column", labels=LABELS, classes=["Person", "car"])
    said = texts(svg)
    assert {"person", "car"} <= set(said)
    assert not {"sky", "tree", "building"} & set(said)
    assert any("ProGAN" in text for text in said)
    with pytest.raises(SpecError, match="'persons'"):
        unseen.figure(kind, folder, classes=["persons"])
    with pytest.raises(SpecError, match="--labels"):
        unseen.figure(kind, folder, labels=["LSUN"])


def test_more_classes_than_fit_are_said(tmp_path):
    names = ("none", "sky", "building", *(f"class {i}" for i in range(40)))
    presence = dict.fromkeys(names[3:], 0.1)
    sides = [areas(200, presence, seed=seed, name=f"{seed}", classes=names) for seed in (0, 1)]
    comparison = unseen.compare(*sides)
    axes = comparison.plot(width="column").axes
    labels = [label.get_text() for label in axes[-1].get_xticklabels()]
    assert 0 < len(labels) < 41
    assert axes[-1].get_xlabel() == f"the {len(labels)} largest of 41 classes"


def test_pairs_show_photographs_that_hold_the_class_and_what_it_covers(folder):
    figure = unseen.figure("pairs", folder, classes=["person"], count=1)
    assert len(figure.axes) == 4
    evidence = unseen.read_evidence(folder)
    picture = next(p for p in evidence.pictures if p.role == "photograph")
    person = evidence.columns.index("object/person")
    rebuilt = next(r for r in picture.rebuilt if r.method == evidence.primary)
    from unseen.images.record_pictures import read_label_map

    shares = [
        float(np.mean(read_label_map(folder, path) == person))
        for path in (picture.label_map, rebuilt.label_map)
    ]
    said = figure.axes[0].get_xlabel()
    assert [float(number) / 100 for number in re.findall(r"([\d.]+) %", said)] == pytest.approx(
        shares, abs=0.001
    )
    # a class that was asked for keeps its colour, others are pale
    segmented = figure.axes[2].images[0].get_array()
    labels = read_label_map(folder, picture.label_map)
    assert segmented[labels == person].min() < 100
    assert segmented[labels != person].min() > 100


def test_pairs_of_a_comparison_are_images_of_the_same_names(tmp_path):
    real = areas(40, PRESENCE, seed=0, name="photos")
    rebuilt = areas(40, {**PRESENCE, "person": 0.0}, seed=1, name="photos")
    rebuilt = dataclasses.replace(
        rebuilt, provenance={"images": [{"spec": "rebuilt/", "fingerprint": "r"}]}
    )
    run(tmp_path, real, [rebuilt])
    figure = unseen.figure("pairs", tmp_path, classes=["person"], count=2)
    assert len(figure.axes) == 8
    assert figure.axes[0].get_xlabel().endswith("→ 0 %")
    bare = tmp_path / "bare"
    run(bare, real, [areas(40, PRESENCE, seed=1, name="fakes")])
    with pytest.raises(RecordError, match="no photographs"):
        unseen.figure("pairs", bare)


def test_an_instance_is_outlined_beside_its_control(folder):
    figure = unseen.figure("instances", folder, classes=["person"], count=2)
    assert len(figure.axes) == 8
    evidence = unseen.read_evidence(folder)
    top, left, bottom, right = evidence.instances[0].box
    outlined = figure.axes[0].collections[-1].get_paths()[0].get_extents()
    assert outlined.bounds == pytest.approx((left, top, right - left, bottom - top), abs=0.01)
    assert "25 % kept" in figure.axes[0].get_xlabel()  # as the record has it
    with pytest.raises(RecordError, match="sky"):
        unseen.figure("instances", folder, classes=["sky"])


def test_what_a_record_does_not_hold_is_refused(folder, tmp_path):
    comparison, evidence = unseen.read_comparison(folder), unseen.read_evidence(folder)
    for kind, record in (("retention", comparison), ("histogram", evidence)):
        with pytest.raises(RecordError, match=kind):
            unseen.figure(kind, record)
    with pytest.raises(RecordError, match=r"evidence\.json"):
        unseen.figure("curves", tmp_path)
    with pytest.raises(RecordError, match="folder"):
        unseen.figure("pairs", dataclasses.replace(evidence))  # where its pictures are is unknown


def test_the_command_writes_what_the_suffix_says(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unseen_command(["figure", "histogram", str(folder), "--labels", *LABELS]) == 0
    assert capsys.readouterr().out == "Figure: histogram.pdf\n"
    assert (tmp_path / "histogram.pdf").read_bytes().startswith(b"%PDF")
    command = ["figure", "pairs", str(folder), "--class", "person", "-n", "1", "-o"]
    assert unseen_command([*command, "a.svg", "--width", "column"]) == 0
    assert len(list(tmp_path.iterdir())) == 2
    assert unseen_command([*command, "a.jpg"]) == 1
    assert "a.jpg" in capsys.readouterr().err
    assert unseen_command(["figure", "pie", str(folder)]) == 2
