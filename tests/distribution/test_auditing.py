"""Labels in CSV files, and a comparison that they correct."""

import numpy as np
import pytest
from tests.support.worlds import areas

from unseen.core.errors import SpecError
from unseen.core.records import to_json
from unseen.distribution.audit_labels import Answer, ClassLabels, labels_by_column, read_answers
from unseen.distribution.auditing import with_audit
from unseen.distribution.compare import compare
from unseen.distribution.comparison import RECORD_FILE
from unseen.distribution.comparison_summary import summary
from unseen.distribution.designs import side_keys
from unseen.statistics.audit_sample import draw_to_label


def answers_of(sides, truths, *, count=120, labeller="ann"):
    """What a person says who is always right."""
    told = []
    for key, side, truth in zip(("real", "generated-1"), sides, truths, strict=True):
        k = side.columns.index("object/person")
        rows = draw_to_label(side.fraction[:, k], 0.005, count, 0)
        told += [
            Answer("person", key, side.names[row], float(truth[row]), labeller) for row in rows
        ]
    return told


@pytest.fixture(scope="module")
def world():
    """Both sides hold persons alike; of the generated ones the segmenter misses half."""
    sides = [
        areas(600, {"person": 0.4, "car": 0.2}, seed=k, name=name)
        for k, name in enumerate(("photos", "fakes"))
    ]
    truths = [side.pixels[:, 4] > 0 for side in sides]
    missed = truths[1] & (np.random.default_rng(7).random(600) < 0.5)
    sides[1].pixels[missed, 2] += sides[1].pixels[missed, 4]
    sides[1].pixels[missed, 4] = 0
    return sides, truths


@pytest.fixture(scope="module")
def corrected(world):
    sides, truths = world
    return compare(sides[0], sides[1:], audit=answers_of(sides, truths))


def person(comparison):
    return next(row for row in comparison.generated[0].classes if row.name == "person")


def test_a_segmenter_that_misses_half_reads_as_a_loss_and_labels_take_it_back(world, corrected):
    sides, truths = world
    assert person(compare(sides[0], sides[1:])).verdict == "under"
    row = person(corrected)
    assert row.audit.segmenter.verdict == "under"
    assert row.verdict in ("undecided", "matched")
    true_ratio = truths[1].mean() / truths[0].mean()
    assert row.interval[0] < true_ratio < row.interval[1]
    assert row.audit.real.sensitivity == pytest.approx(1.0)
    low, high = row.audit.generated.sensitivity_interval
    assert low < 0.5 < high  # the segmenter's true rate
    assert row.audit.generated.missed
    assert not row.audit.generated.invented
    names = {image.name for image in row.audit.generated.missed}
    assert names <= {sides[1].names[k] for k in np.flatnonzero(truths[1])}


def test_other_classes_stay_and_verdicts_are_counted_again(world, corrected):
    sides, _ = world
    plain = compare(sides[0], sides[1:])
    others = [row for row in plain.generated[0].classes if row.name != "person"]
    assert [row for row in corrected.generated[0].classes if row.name != "person"] == others
    told = corrected.told(corrected.generated[0])
    counted = corrected.generated[0].counts
    assert counted["under"] == sum(row.verdict == "under" for row in told)


def test_an_audited_record_is_read_back_and_told(corrected):
    assert RECORD_FILE.parse(to_json(corrected)) == corrected
    assert "person" in summary(corrected)


def test_a_second_audit_replaces_the_first(world, corrected):
    sides, truths = world
    told = answers_of(sides, truths, count=300)
    assert with_audit(corrected, sides, told) == compare(sides[0], sides[1:], audit=told)


def test_labels_of_other_images_sides_and_classes_are_refused(world):
    sides, truths = world
    told = answers_of(sides, truths)
    for wrong, what in (
        (Answer("person", "real", "elsewhere.png", 1.0, "ann"), "elsewhere.png"),
        (Answer("person", "generated-2", "fakes-1.png", 1.0, "ann"), "generated-2"),
        (Answer("unicorn", "real", "photos-1.png", 1.0, "ann"), "unicorn"),
    ):
        with pytest.raises(SpecError, match=what):
            compare(sides[0], sides[1:], audit=[*told, wrong])


def test_generated_names_a_side_only_where_there_is_a_single_generated_side():
    told = [Answer("person", "generated", "1.png", 1.0, "ann")]
    (labels,) = labels_by_column(told, ["object/person"], side_keys(2)).values()
    assert labels.majority == {"generated-1": {"1.png": 1.0}}
    with pytest.raises(SpecError, match="generated-2"):
        labels_by_column(told, ["object/person"], side_keys(3))


def test_the_majority_and_the_agreement_of_three_people():
    labels = {"ann": (1.0, 1.0, 0.0), "bob": (1.0, 0.0, 0.0), "eve": (1.0, np.nan, 1.0)}
    told = [
        Answer("person", "real", f"{k}.png", label, name)
        for name, row in labels.items()
        for k, label in enumerate(row)
    ]
    found = ClassLabels.of(told)
    assert found.labellers == ("ann", "bob", "eve")
    assert found.majority["real"]["0.png"] == 1.0
    assert np.isnan(found.majority["real"]["1.png"])  # one each
    assert found.majority["real"]["2.png"] == 0.0
    assert found.compared == 3
    # by hand: pairs that agree 3 + 0 + 1, over images 3/2·2…: α = 1 − (n − 1) Σ o / Σ e
    assert found.agreement == pytest.approx(1 - 7 * (0 + 2 + 2 / 2 * 2) / (2 * 5 * 3), abs=1e-9)


def test_a_file_is_read_and_its_faults_are_named(tmp_path):
    good = tmp_path / "bob.csv"
    good.write_text('class,side,name,label\nperson,real,"a, b.png",y\nperson,real,c.png,?\n')
    first, second = read_answers([good])
    assert (first.name, first.label, first.labeller) == ("a, b.png", 1.0, "bob")
    assert np.isnan(second.label)
    for text, what in (
        ("class,side,name\nperson,real,a.png\n", "label"),
        ("class,side,name,label\nperson,real,a.png,maybe\n", "maybe"),
        ("class,side,name,label\n", "label"),
    ):
        bad = tmp_path / "bad.csv"
        bad.write_text(text)
        with pytest.raises(SpecError, match=what):
            read_answers([bad])


def test_a_person_who_says_yes_and_no_of_one_image_is_refused():
    told = [Answer("person", "real", "a.png", label, "ann") for label in (1.0, 0.0)]
    with pytest.raises(SpecError, match=r"a\.png"):
        ClassLabels.of(told)
