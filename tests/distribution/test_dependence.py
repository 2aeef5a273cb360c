import numpy as np
import pytest
from tests.support.worlds import areas

from unseen.distribution.areas import Areas
from unseen.distribution.dependence import looks_dependent, near_duplicates
from unseen.distribution.designs import Known, group_labels

GROUPED = {
    "frames in folders": [f"clip_{k // 10:03d}/frame_{k % 10:04d}.png" for k in range(200)],
    "numbers in numbered folders": [f"clip_{k // 10:03d}/{k % 10:04d}.png" for k in range(200)],
    "frames in one folder": [f"walk{k // 10}_frame{k % 10}.jpg" for k in range(200)],
    "crops": [f"photo{k // 10}_crop{k % 10}.png" for k in range(200)],
    "originals and their copies": [
        f"img_{k // 10:04d}" + (f"_aug{k % 10}" if k % 10 else "") + ".png" for k in range(200)
    ],
    "images of a prompt": [f"prompt_{k // 10:04d}_{k % 10}.png" for k in range(200)],
    "seeds of a prompt": [f"{k // 10:04d}_seed{k % 10}.png" for k in range(200)],
}
COUNTED = {
    "a counter": [f"{k:06d}.png" for k in range(200)],
    "a counter with a word": [f"image ({k}).png" for k in range(200)],
    "a renderer": [f"churchyard-seed1-{k:06d}" for k in range(200)],
    "classes in folders": [f"{('cat', 'dog')[k % 2]}/{k // 2:04d}.png" for k in range(200)],
    "classes before a counter": [f"{('cat', 'dog')[k % 2]}.{k // 2}.jpg" for k in range(200)],
    "numbered classes": [f"class_{k // 20:02d}/{k % 20:04d}.png" for k in range(200)],
    "synsets": [f"n0{1440764 + k // 20}/n0{1440764 + k // 20}_{k % 20}.JPEG" for k in range(200)],
    "shards": [f"shard_{k // 20:03d}/{k % 20:04d}.png" for k in range(200)],
    "a counter cut into folders": [f"{k // 20 * 20:05d}/{k:05d}.png" for k in range(200)],
    "dates and times": [f"IMG_202105{k % 28:02d}_{7919 * k % 240000:06d}.jpg" for k in range(200)],
    "tiles in splits": [f"{('train', 'val')[k % 2]}/tile_{k:04d}.png" for k in range(200)],
    "ranks": [f"rank{k % 8}_{k // 8}.png" for k in range(200)],
}


@pytest.mark.parametrize("names", GROUPED.values(), ids=GROUPED)
def test_names_that_count_twice_are_told_with_an_option_that_declares_the_groups(names):
    said = looks_dependent(names)
    assert said.startswith("200 of 200")
    rule = said.partition("--groups ")[2].removesuffix(".").strip("'")
    (grouped,) = group_labels(rule, [Known("names", names)], [("real",)])
    first = {label: row for row, label in reversed(list(enumerate(grouped.labels)))}
    # ten images a group, one group after the other
    assert [first[label] for label in grouped.labels] == [k // 10 * 10 for k in range(200)]


@pytest.mark.parametrize("names", COUNTED.values(), ids=COUNTED)
def test_a_counter_over_all_images_is_no_sign(names):
    assert looks_dependent(names) == ""


def test_of_very_many_images_runs_of_neighbours_are_looked_at():
    names = [f"clip_{k // 10:06d}/frame_{k % 10:04d}.png" for k in range(100_000)]
    # twenty runs of a thousand neighbours; where they begin and end a clip may have one frame
    assert " of 20,000 images" in looks_dependent(names)


def scenes(n, *, copies=1, jitter=0, seed=0):
    """Areas of 64 × 64 maps of 12 classes in Dirichlet shares; each scene is there so often."""
    rng = np.random.default_rng(seed)
    shares = np.repeat(rng.dirichlet(np.full(12, 0.7), n // copies), copies, axis=0)
    pixels = np.floor(4000 * shares).astype(np.int64)
    pixels += rng.integers(0, jitter + 1, pixels.shape)  # 12 classes, at most 4,000 + 12 × jitter
    pixels[:, 0] += 4096 - pixels.sum(axis=1)
    return Areas(
        names=[f"{k}" for k in range(n)],
        columns=tuple(f"object/{k}" for k in range(12)),
        pixels=pixels.astype(np.uint32),
        label_map_pixels=4096,
    )


@pytest.mark.parametrize("jitter", [0, 4])  # 4 pixels a class: at most 0.6 % of the image
def test_copied_images_are_told_by_their_areas(jitter):
    copied = scenes(300, copies=10, jitter=jitter)
    assert near_duplicates(copied, scenes(300, seed=1))
    assert near_duplicates(scenes(300, seed=1), copied) == ""


def test_independent_images_are_not_duplicates():
    # 4,000 of 12 classes are dense: many lie within 3 % of another, on either side
    assert near_duplicates(scenes(4000), scenes(4000, seed=1)) == ""
    # Three classes on 256 pixels: equal areas are chance.
    few, other = areas(4000, {"sky": 0.3}, seed=0), areas(400, {"sky": 0.7, "car": 0.5}, seed=1)
    assert near_duplicates(few, other) == ""
    assert near_duplicates(other, few) == ""


def test_what_both_sides_have_alike_is_no_sign():
    both = scenes(300, copies=10)
    assert near_duplicates(both, both) == ""
