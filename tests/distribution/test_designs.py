import numpy as np
import pytest

from unseen.core.errors import SampleError, SpecError
from unseen.distribution.designs import Known, SideDesign, group_labels, side_designs
from unseen.statistics import Design

PHOTOS = Known("photos", [f"clip{k // 3}/frame{k % 3}.png" for k in range(9)])
FAKES = Known("fakes", [f"{k:04d}.png" for k in range(6)], ["cat", "dog", "cow"] * 2)
BY_CLIP, BY_CONDITION = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2]


def groups(said, *sides, weights=None):
    designs = side_designs(sides or (PHOTOS, FAKES), said, weights)
    return [None if side.design.groups is None else side.design.groups.tolist() for side in designs]


def weights(said, *sides):
    designs = side_designs(sides or (PHOTOS, FAKES), "none", said)
    return [
        None if side.design.weights is None else side.design.weights.tolist() for side in designs
    ]


@pytest.fixture
def file(tmp_path):
    def write(text, name="groups.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_conditions_that_repeat_are_groups_by_themselves():
    assert groups(None) == [None, BY_CONDITION]
    (real, fakes) = side_designs((PHOTOS, FAKES), None, None)
    assert (fakes.grouped_by, fakes.declared, real.declared) == ("condition", False, False)
    alone = Known("fakes", ["a", "b"], ["cat", "dog"])
    assert groups(None, PHOTOS, alone) == [None, None]
    assert groups("none") == [None, None]
    assert groups("generated=none") == [None, None]


@pytest.mark.parametrize(
    "said",
    [
        "folder",
        "real=folder,generated=none",
        r"clip(\d+)",
        r"clip\d+",
        {"real": "folder", "generated": "none"},
        dict(zip(PHOTOS.names, BY_CLIP, strict=True)),
    ],
)
def test_folders_expressions_and_mappings_tell_the_same_clips(said):
    assert groups(said, PHOTOS, Known("fakes", FAKES.names)) == [BY_CLIP, None]


def test_sides_are_told_apart():
    assert groups("real=folder,generated=condition") == [BY_CLIP, BY_CONDITION]
    both = r"real=^(a|clip\d),generated=condition"  # a comma may stand in an expression
    assert groups(both) == [BY_CLIP, BY_CONDITION]
    two = groups({"generated-2": np.array([5, 5, 5, 7, 7, 7])}, PHOTOS, FAKES, FAKES)
    assert two == [None, BY_CONDITION, [0, 0, 0, 1, 1, 1]]
    with pytest.raises(SpecError, match="generated-3"):
        groups("generated-3=folder")


def test_what_says_nothing_of_a_side_leaves_it_and_says_so():
    drawn = Known("fakes", FAKES.names)
    photos, fakes = side_designs((PHOTOS, drawn), "folder", None)
    assert fakes.design.groups is None
    assert not fakes.declared
    assert "fakes" in fakes.remarks[0]
    # conditions that repeat are groups then as without any option
    _, asked = side_designs((PHOTOS, FAKES), "folder", None)
    assert asked.design.groups.tolist() == BY_CONDITION
    assert (asked.grouped_by, asked.declared) == ("condition", False)
    assert "fakes" in asked.remarks[0]
    assert photos.remarks == ()
    with pytest.raises(SpecError, match="photos"):  # told of this side alone, it must fit
        groups("real=condition")


@pytest.mark.parametrize("said", ["condition", "folder", "no such name"])
def test_what_says_nothing_of_any_side_is_refused(said):
    with pytest.raises(SpecError, match="left"):
        groups(said, Known("left", ["1", "2"]), Known("right", ["3", "4"]))


def test_an_expression_that_fits_some_names_is_refused_and_the_one_offered_fits_all():
    some = Known("mixed", ["clip1/a", "clip1/b", "other", "another"])
    with pytest.raises(SpecError, match=r"2 of 4 .* other and another") as refused:
        groups(r"(clip\d)", some, some)
    offered = str(refused.value).split("'")[1]
    assert groups(offered, some, some) == [[0, 0, 1, 2]] * 2
    with pytest.raises(SpecError, match="2 of 4"):
        groups("folder", some, some)
    with pytest.raises(SpecError, match=r"\(clip"):
        groups("(clip", some, some)


def test_groups_of_an_expression_are_all_that_took_part_in_the_match():
    side = Known("side", ["a1b1", "a1b2", "a1b1", "a2b1"])
    assert groups(r"(a\d)(b\d)", side, side)[0] == [0, 1, 0, 2]


def test_a_file_names_the_group_of_every_image(file):
    lines = "".join(f"{name},{clip}\n" for name, clip in zip(PHOTOS.names, BY_CLIP, strict=True))
    assert groups(file(f"\ufeffname,group\n{lines}unused,9\n")) == [BY_CLIP, BY_CONDITION]
    with pytest.raises(SpecError, match=r"1 of 9 .* clip0/frame0"):
        groups(file("name,group\n" + lines.partition("\n")[2]))
    with pytest.raises(SpecError, match=r"2 names .* clip0/frame0.png and clip0/frame1.png"):
        groups(file("name,group\n" + lines + "".join(lines.splitlines(keepends=True)[:2])))
    for broken in ("", "name,group\n", "image,clip\na,b\n", "name,group\na\n", "name,group\na,\n"):
        with pytest.raises(SpecError, match=r"groups\.csv"):
            groups(file(broken))
    with pytest.raises(SpecError, match=r"missing\.csv"):
        groups("missing.csv")


def test_a_side_of_one_group_is_refused():
    with pytest.raises(SampleError, match="photos"):
        groups("real=clip")


def test_arrays_have_an_entry_an_image():
    labels = np.array(list("aabbccddd"))
    assert groups({"real": labels})[0] == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    with pytest.raises(SpecError, match=r"8 groups .* 9 images"):
        groups({"real": labels[:8]})
    with pytest.raises(SpecError, match="missing"):
        groups({"real": [None, *labels[1:]]})


def test_weights_are_told_by_name_by_condition_or_by_the_real_side(file):
    by_name = "".join(f"{name},{k + 1}\n" for k, name in enumerate(FAKES.names))
    assert weights(file(f"name,weight\n{by_name}")) == [None, [1, 2, 3, 4, 5, 6]]
    # what a condition weighs is divided among its images
    by_condition = "condition,weight\ncat,1\ndog,0.5\ncow,0.25\n"
    assert weights(file(by_condition)) == [None, [0.5, 0.25, 0.125] * 2]
    real = Known("photos", list("abcd"), ["cat", "cat", "dog", "cow"])
    assert weights("condition", real, FAKES) == [None, [1, 0.5, 0.5] * 2]
    folders = Known("photos", ["cat/1", "cat/2", "dog/1", "cow/1"])
    assert weights("folder", folders, FAKES) == [None, [1, 0.5, 0.5] * 2]
    assert weights({"generated": np.arange(1.0, 7.0)})[1] == [1, 2, 3, 4, 5, 6]


def test_weights_of_a_file_of_groups_are_taken_with_it(file):
    rows = "".join(f"{name},{k // 3},{k + 1}\n" for k, name in enumerate(FAKES.names))
    path = file(f"name,group,weight\n{rows}")
    (_, fakes) = side_designs((PHOTOS, FAKES), path, None)
    assert fakes.design.groups.tolist() == [0, 0, 0, 1, 1, 1]
    assert fakes.design.weights.tolist() == [1, 2, 3, 4, 5, 6]
    (_, fakes) = side_designs((PHOTOS, FAKES), path, "none")
    assert fakes.design.weights is None


def test_weights_that_cannot_be_right_are_refused(file):
    for bad in ("0", "-1", "inf", "nan"):
        rows = "".join(f"{name},1\n" for name in FAKES.names[1:])
        with pytest.raises(SampleError, match=r"1 images of fakes .* 0000\.png"):
            weights(file(f"name,weight\n{FAKES.names[0]},{bad}\n{rows}"))
    with pytest.raises(SpecError, match="heavy"):
        weights(file("name,weight\n0000.png,heavy\n"))
    with pytest.raises(SpecError, match=r"4 images of fakes .* cow and dog"):
        weights(file("condition,weight\ncat,1\n"))
    with pytest.raises(SpecError, match="photos"):
        weights("condition")  # the real side has none
    with pytest.raises(SpecError, match="balanced"):
        weights("balanced")


def test_conditions_that_were_never_drawn_are_said_to_be_out_of_reach(file):
    path = file("condition,weight\ncat,1\ndog,1\ncow,1\nhen,1\n")
    (_, fakes) = side_designs((PHOTOS, FAKES), "none", path)
    assert "hen" in fakes.remarks[0]
    assert "25" in fakes.remarks[0]  # percent of the weight


def test_halves_keep_what_was_told():
    (whole, _) = side_designs((PHOTOS, FAKES), "folder", {"real": np.arange(1.0, 10.0)})
    half = whole.take(np.array([0, 3, 4]))
    (real, _) = side_designs(
        (Known("half", ["a", "b", "c"]), FAKES), {"real": half, "generated": SideDesign()}, None
    )
    assert real.grouped_by == "folder"
    assert real.design.groups.tolist() == [0, 1, 1]
    assert real.design.weights.tolist() == [1, 4, 5]


def test_other_sides_can_be_named():
    keys = [("photographs",), ("controls",)]
    said = "photographs=folder,controls=condition"
    photographs, controls = group_labels(said, [PHOTOS, FAKES], keys)
    assert photographs.labels[:4] == ["clip0", "clip0", "clip0", "clip1"]
    assert controls.labels == FAKES.conditions
    assert (photographs.by, controls.by) == ("folder", "condition")


def test_an_unmarked_design_is_the_default():
    assert SideDesign().design.groups is None
    assert Design().weights is None
