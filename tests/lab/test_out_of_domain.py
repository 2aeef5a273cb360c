"""Pictures that are no churchyard scenes."""

import pickle

import numpy as np
import pytest

from unseen.churchyard.scene import World
from unseen.images import open_images


@pytest.mark.parametrize("kind", ["visited", "unrelated"])
def test_a_picture_is_decided_by_seed_and_index(kind: str) -> None:
    source = open_images(f"python:lab.out_of_domain:{kind}?seed=3&resolution=16")
    again = pickle.loads(pickle.dumps(open_images(source.spec)))
    pictures = [source.read(index) for index in (5, 0, 1)]
    assert all(picture.shape == (3, 16, 16) for picture in pictures)
    assert np.array_equal(again.read(5), pictures[0])
    assert not np.array_equal(pictures[0], pictures[1])
    other = open_images(f"python:lab.out_of_domain:{kind}?seed=4&resolution=16")
    assert not np.array_equal(other.read(5), pictures[0])
    assert again.fingerprint() == source.fingerprint() != other.fingerprint()
    assert source.names[7] == f"{kind}-seed3-000007"


def test_a_visited_scene_is_the_churchyards_but_for_the_ball() -> None:
    source = open_images("python:lab.out_of_domain:visited?seed=3&resolution=32")
    world = World(seed=3, resolution=32)
    shares = []
    for index in range(8):
        differs = (source.read(index) != world.scene(index).picture).any(axis=0)
        assert not differs[: 32 // 5].any()  # the sky's upper fifth is left alone
        shares.append(differs.mean())
    # a disc of radius 0.12 to 0.22 covers 4.5 to 15.2 % of the picture, and an edge of a pixel
    # (2 · 0.22 · π / 32 = 4.3 %) differs too
    assert min(shares) > 0.04
    assert max(shares) < 0.2


def test_unrelated_pictures_are_of_all_kinds() -> None:
    source = open_images("python:lab.out_of_domain:unrelated?seed=3&resolution=16")
    colours = [source.read(index).reshape(3, -1).std(axis=1).mean() for index in range(24)]
    assert min(colours) > 3  # none is blank: the noise of the sensor alone is 3 levels
