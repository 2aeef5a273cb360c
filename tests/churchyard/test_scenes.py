"""The built-in world: scenes are functions of (world, index), and labels fit pictures."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.churchyard.canvas import Canvas
from unseen.churchyard.classes import CLASS_NAMES, INDEX, REMOVABLE
from unseen.churchyard.scene import FREQUENCY, World
from unseen.churchyard.source import open_churchyard
from unseen.core.errors import SpecError
from unseen.core.registry import parse_spec

WHITE = (1.0, 1.0, 1.0)


def scenes_with(name: str, world: World, count: int = 40) -> list[int]:
    """The scenes among the first `count` that show the class."""
    return [k for k in range(count) if (world.scene(k).label_map == INDEX[name]).any()]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), index=st.integers(0, 2**40))
def test_a_scene_depends_on_seed_and_index_alone(seed: int, index: int) -> None:
    first = World(seed=seed).scene(index)
    World(seed=seed + 1).scene(index)  # another scene in between
    copy = pickle.loads(pickle.dumps(World(seed=seed)))  # as a worker process gets it
    again = copy.scene(index)
    assert np.array_equal(first.picture, again.picture)
    assert np.array_equal(first.label_map, again.label_map)


def test_seeds_and_indices_give_different_scenes() -> None:
    pictures = [World(seed=s).scene(k).picture.tobytes() for s in range(3) for k in range(4)]
    assert len(set(pictures)) == 12


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_resolution_is_the_side_of_picture_and_label_map(resolution: int) -> None:
    scene = World(resolution=resolution).scene(3)
    assert scene.picture.shape == (3, resolution, resolution)
    assert scene.label_map.shape == (resolution, resolution)
    assert scene.label_map.max() < len(CLASS_NAMES)


@pytest.mark.parametrize("name", REMOVABLE)
def test_without_takes_the_class_and_leaves_the_rest_of_the_scene(name: str) -> None:
    # rare classes are raised to 0.6, so that six scenes show at least one
    world = World(seed=2, least_frequency=0.6)
    poorer = World(seed=2, least_frequency=0.6, without=((name, 1.0),))
    shown = scenes_with(name, world, 12)
    assert shown
    for index in shown[:3]:
        whole, rest = world.scene(index), poorer.scene(index)
        gone = whole.label_map == INDEX[name]
        assert not (rest.label_map == INDEX[name]).any()
        # Elsewhere labels are the same; a pixel that the object covers in part may change its
        # majority, and such pixels touch the object.
        changed = (whole.label_map != rest.label_map) & ~gone
        touching = gone.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                touching |= np.roll(gone, step, axis)
        assert changed.sum() <= gone.sum()
        assert (changed & ~touching).sum() <= 0.15 * gone.sum() + 4  # objects thinner than a pixel
        # Off the object and its shadow the picture is the same byte for byte.
        same = (whole.picture == rest.picture).all(0)
        assert same.mean() > 0.3


def test_scenes_that_never_held_the_class_are_untouched() -> None:
    world, poorer = World(seed=4), World(seed=4, without=(("fence", 1.0),))
    shown = scenes_with("fence", world, 20)
    for index in set(range(20)) - set(shown):
        assert np.array_equal(world.scene(index).label_map, poorer.scene(index).label_map)


def test_without_a_share_takes_that_share_of_scenes() -> None:
    world = World(seed=5, without=(("person", 0.2),))
    losing = sum("person" in world.removed(k) for k in range(2000))
    # binomial(2000, 0.2): mean 400, deviation 18; five deviations
    assert 310 < losing < 490


def test_the_scenes_of_a_smaller_share_are_among_those_of_a_larger() -> None:
    fifth, half = (World(seed=5, without=(("person", share),)) for share in (0.2, 0.5))
    assert all(fifth.removed(k) <= half.removed(k) for k in range(200))


def test_sub_pixels_decide_picture_and_label_together() -> None:
    canvas = Canvas(16, light=WHITE, haze=WHITE, shadow=WHITE)
    red = canvas.part("building", (200, 0, 0))
    blue = canvas.part("fence", (0, 0, 160))
    canvas.rectangle(0, 0, 1, 1, red)
    canvas.rectangle(4 / 16, 0, 4.25 / 16, 1, blue)  # one of four columns of a pixel
    canvas.rectangle(8 / 16, 0, 8.5 / 16, 1, blue)  # two of four
    picture, label_map = canvas.develop((0, 0))
    assert picture[3, 4].tolist() == [150, 0, 40, 0]  # 3/4 red, 1/4 blue, no sky
    assert picture[3, 8].tolist() == [100, 0, 80, 0]
    # A fence counts double: 2 × 1/4 < 3/4, but 2 × 2/4 > 2/4.
    assert label_map[3, 4] == INDEX["building"]
    assert label_map[3, 8] == INDEX["fence"]


def test_the_sky_is_left_to_its_coverage() -> None:
    canvas = Canvas(16, light=WHITE, haze=WHITE, shadow=WHITE)
    canvas.rectangle(0, 0.5, 1, 1, canvas.part("grass", (0, 100, 0)))
    picture, label_map = canvas.develop((0, 0))
    assert picture[0, 0].tolist() == [0, 0, 0, 255]
    assert picture[15, 0].tolist() == [0, 100, 0, 0]
    assert np.unique(label_map).tolist() == [INDEX["sky"], INDEX["grass"]]


def test_a_shadow_falls_on_the_ground_and_on_nothing_that_stands() -> None:
    canvas = Canvas(16, light=WHITE, haze=WHITE, shadow=(0.5, 0.5, 0.5))
    canvas.rectangle(0, 0, 1, 1, canvas.part("grass", (0, 100, 0)))
    canvas.end_of_ground()
    canvas.rectangle(0.5, 0, 1, 1, canvas.part("car", (100, 0, 0)))
    canvas.shadow_polygon(((0, 0), (1, 0), (1, 1), (0, 1)))
    picture, _ = canvas.develop((0, 0))
    assert picture[8, 2, :3].tolist() == [0, 50, 0]
    assert picture[8, 12, :3].tolist() == [100, 0, 0]


def test_common_classes_are_common_and_rare_ones_are_there_when_asked() -> None:
    world = World(seed=6)
    for name in ("person", "fence", "car"):  # planted omissions need tens of percent
        assert len(scenes_with(name, world)) > 40 * 0.15
    rare = World(seed=6, least_frequency=1.0)
    for name in FREQUENCY:
        assert scenes_with(name, rare, 3)


def test_the_source_names_scenes_by_seed_and_index() -> None:
    source = open_churchyard(parse_spec("churchyard?seed=1&without=person,fence:0.5"))
    assert source.endless
    assert source.names[42] == "churchyard-seed1-000042"
    assert source.names[:2] == ["churchyard-seed1-000000", "churchyard-seed1-000001"]
    assert source.world.without == (("fence", 0.5), ("person", 1.0))
    assert np.array_equal(source.read(7), source.world.scene(7).picture)
    assert np.array_equal(source.label_map(7), source.world.scene(7).label_map)
    assert pickle.loads(pickle.dumps(source)) == source


def test_a_balloon_changes_its_own_pixels_alone() -> None:
    """Half the scenes have it, where no other object changes; it is red, and labelled as sky."""
    world, plain = World(seed=6, balloon=0.5), World(seed=6)
    differ = []
    for index in range(24):
        scene, without = world.scene(index), plain.scene(index)
        changed = (scene.picture != without.picture).any(axis=0)
        differ.append(changed.any())
        if changed.any():
            assert 30 < changed.sum() < 200  # of 4,096 pixels
            assert set(np.unique(scene.label_map[changed])) >= {INDEX["sky"]}
            assert (scene.label_map == without.label_map)[~changed].all()
            red, green = scene.picture[:2, changed].astype(float).mean(axis=1)
            assert red > 1.3 * green
    assert 6 <= sum(differ) <= 18  # 12 ± 2.4 standard deviations of a binomial


def test_worlds_without_balloons_keep_the_fingerprint_that_they_had() -> None:
    """The SHA-256 of seed 1 as the renderer's version 1 had it before there were balloons."""
    plain = open_churchyard(parse_spec("churchyard?seed=1")).fingerprint()
    assert plain == "e8c4c1b0bd58c670a80a835600566a965b6af90bb37eb4386ddc7ccfe33fd68f"
    assert open_churchyard(parse_spec("churchyard?seed=1&balloon=5")).fingerprint() != plain


def test_fingerprints_differ_by_seed_and_by_what_is_left_out() -> None:
    specs = (
        "churchyard",
        "churchyard?seed=1",
        "churchyard?without=car",
        "churchyard?without=car:0.5",
    )
    assert len({open_churchyard(parse_spec(text)).fingerprint() for text in specs}) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("churchyard?without=grass", "cannot be without 'grass'"),
        ("churchyard?without=person:2", "no share of scenes"),
        ("churchyard?without=person:few", "no share"),
        ("churchyard?resolution=65", "power of two"),
        ("churchyard?seed=one", "seed is a whole number"),
        ("churchyard?colour=red", "unknown option 'colour'"),
    ],
)
def test_a_bad_spec_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        open_churchyard(parse_spec(text))
