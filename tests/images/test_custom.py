"""Images in memory, and objects that users made: what is taken, converted or refused."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler

import unseen
from unseen.core.errors import ImageError, SpecError
from unseen.generators.sources import Drawing
from unseen.images import Preparation, batches, open_images
from unseen.images.custom import open_object

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
PILLOW = [Image.fromarray(picture) for picture in PICTURES]


def _png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


class _Pairs(Dataset):
    """As torchvision's datasets: (image, label)."""

    def __len__(self):
        return len(PILLOW)

    def __getitem__(self, index):
        return PILLOW[index], index % 2


class _Tensors(Dataset):
    def __len__(self):
        return len(PICTURES)

    def __getitem__(self, index):
        image = torch.from_numpy(PICTURES[index]).permute(2, 0, 1)
        return {"label": torch.tensor(3), "pixels": image}


class Image_:  # noqa: N801
    """Named as Hugging Face's feature is."""


Image_.__name__ = "Image"


class _Rows:
    """As a Hugging Face dataset: features, a length, and dicts."""

    features = {"picture": Image_(), "caption": "text"}  # noqa: RUF012

    def __init__(self, encoded=False):
        self._encoded = encoded

    def __len__(self):
        return len(PILLOW)

    def __getitem__(self, index):
        encoded = {"bytes": _png(PICTURES[index]), "path": None}
        return {"picture": encoded if self._encoded else PILLOW[index], "caption": "a church"}


SETS = {
    "a list of Pillow images": lambda: PILLOW,
    "a tuple of arrays": lambda: tuple(PICTURES),
    "an array": lambda: PICTURES,
    "an array, channels first": lambda: PICTURES.transpose(0, 3, 1, 2),
    "a tensor": lambda: torch.from_numpy(PICTURES).permute(0, 3, 1, 2),
    "a torch Dataset of pairs": _Pairs,
    "a torch Dataset of dicts": _Tensors,
    "a torch Subset": lambda: Subset(_Pairs(), range(5)),
    "a DataLoader": lambda: DataLoader(_Pairs(), batch_size=2, shuffle=True),
    "a Hugging Face dataset": _Rows,
    "a Hugging Face dataset of files": lambda: _Rows(encoded=True),
    "a list of encoded files": lambda: [_png(picture) for picture in PICTURES],
}


@pytest.mark.parametrize("kind", SETS)
def test_a_set_in_memory_is_a_source_like_any_other(kind):
    source = Drawing().open(SETS[kind]())
    assert list(source.names) == [f"{k:06d}" for k in range(5)]
    for index, picture in enumerate(PICTURES):
        np.testing.assert_array_equal(source.read(index), picture.transpose(2, 0, 1))
    assert source.fingerprint() == open_images(PILLOW).fingerprint()  # contents, not the container
    (batch,) = batches(source, [4, 0], Preparation(6), batch_size=2, workers=2)
    np.testing.assert_array_equal(
        batch.images, [Preparation(6).apply(source.read(index)) for index in (4, 0)]
    )
    assert open_images(source) is source


def test_it_goes_through_segment_as_it_is():
    class Bright:
        channels = {"object": ("dark", "bright")}  # noqa: RUF012
        resolution = 6
        provenance = {"spec": "bright"}  # noqa: RUF012

        def label_maps(self, images, channel="object"):
            return (images.mean(axis=1) > 127).astype(np.uint8)

    areas = [unseen.segment(images, Bright()) for images in (PILLOW, PICTURES, _Pairs())]
    assert all((other.pixels == areas[0].pixels).all() for other in areas)


def test_grey_images_are_three_equal_channels_in_every_form(tmp_path):
    grey = PICTURES[..., 0]
    expected = np.repeat(grey[:, None], 3, axis=1)
    np.savez(tmp_path / "grey.npz", grey)
    np.savez(tmp_path / "one.npz", grey[:, None])
    sets = [
        grey,
        grey[..., None],
        torch.from_numpy(grey)[:, None],
        [Image.fromarray(picture) for picture in grey],
        [Image.fromarray(picture).convert("LA") for picture in grey],
        tmp_path / "grey.npz",
        tmp_path / "one.npz",
    ]
    for images in sets:
        source = open_images(images)
        np.testing.assert_array_equal([source.read(k) for k in range(5)], expected)


@pytest.mark.parametrize(
    ("convert", "expected"),
    [
        (lambda a: a > 127, (PICTURES > 127) * 255),
        (lambda a: a.astype(np.uint16) * 257, PICTURES),
        (lambda a: a.astype(">u2") * 257, PICTURES),
        (lambda a: np.dstack([a, np.full(a.shape[:2], 255, np.uint8)]), PICTURES),
    ],
)
def test_types_with_a_range_of_their_own_are_converted_by_the_rule_of_files(convert, expected):
    source = open_images([convert(picture) for picture in PICTURES])
    found = np.array([source.read(k) for k in range(5)])
    np.testing.assert_array_equal(found, np.asarray(expected).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint32])
@pytest.mark.parametrize("most", [1, 255])
def test_types_whose_range_is_unknown_are_refused_with_the_range_that_was_found(kind, most):
    most = min(most, 127) if kind == np.int8 else most
    image = np.full((4, 5, 3), most, kind)
    with pytest.raises(ImageError, match=rf"000000 is {np.dtype(kind)} .*to {most};"):
        open_images(image[None]).read(0)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (1.0, 0.0), (-128.0, 127.0)]
)
def test_with_a_stated_range_floats_are_converted_and_never_clamped(low, high):
    images = (low + PICTURES.astype(np.float64) / 255 * (high - low)).astype(np.float32)
    source = open_images(torch.from_numpy(images).permute(0, 3, 1, 2), value_range=(low, high))
    np.testing.assert_array_equal(source.read(3), PICTURES[3].transpose(2, 0, 1))
    for wrong in (high + (high - low) / 100, np.nan, np.inf):
        image = np.full((1, 4, 4, 3), low, np.float32)
        image[0, 2, 2, 1] = wrong
        with pytest.raises(ImageError, match=f"holds {wrong:.6g}, outside"):
            open_images(image, value_range=(low, high)).read(0)


def test_a_range_is_for_arrays_in_memory(tmp_path):
    with pytest.raises(SpecError, match="value_range"):
        open_images(tmp_path, value_range=(0, 1))
    for empty in ((1, 1), (0, np.nan), (0, np.inf)):
        with pytest.raises(ImageError, match="two different numbers"):
            open_images(PICTURES, value_range=empty)


class _Lying:
    def __init__(self, length):
        self._length = length

    def __len__(self):
        if isinstance(self._length, BaseException):
            raise self._length
        return self._length

    def __getitem__(self, index):
        return PILLOW[index]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "no images"),
        (PICTURES[:0], "no images"),
        (PICTURES[0], r"\(6, 7, 3\)"),
        (np.zeros((2, 5, 5, 5), np.uint8), "000000"),
        (PILLOW[0], "one image"),
        ({"train": PILLOW, "test": PILLOW}, "train, test"),
        ((image for image in PILLOW), "no length"),
        (iter(PILLOW), "no length"),
        ({1, 2}, "no items"),
        (_Lying(-1), "ValueError"),
        (_Lying("three"), "TypeError"),
        (_Lying(SystemExit(0)), "sys.exit"),
        (_Lying(OSError("gone")), "gone"),
        (_Lying(sys.maxsize), f"{sys.maxsize:,}"),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(images, said):
    with pytest.raises(ImageError, match=said) as refused:
        open_object(images).read(0)
    assert "\n" not in str(refused.value)


def test_loaders_that_choose_and_sets_that_only_iterate_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(PICTURES)

    for images in (
        DataLoader(_Pairs(), sampler=SubsetRandomSampler([1, 2])),
        DataLoader(_Pairs(), batch_sampler=[[0, 1]]),
        DataLoader(Stream()),
        Stream(),
    ):
        with pytest.raises(ImageError):
            open_images(images)


def test_two_columns_of_images_are_not_chosen_from():
    rows = _Rows()
    rows.features = {"before": Image_(), "after": Image_()}
    with pytest.raises(ImageError, match="before, after"):
        open_images(rows)


class _Stop(KeyboardInterrupt):
    pass


def _cut():
    return Image.open(
        io.BytesIO(_png(np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8))[:2000])
    )


def _raise(error):
    def item():
        raise error

    return item


BAD = {
    "OSError": _raise(OSError("lost")),
    "IndexError": _raise(IndexError("behind the end")),
    "sys.exit": _raise(SystemExit(0)),
    "_Stop": _raise(_Stop()),
    "StopIteration": _raise(StopIteration()),
    "truncated": _cut,
    "float64": lambda: np.zeros((4, 4, 3)),
    "(5, 5, 5)": lambda: np.zeros((5, 5, 5), np.uint8),
    "4 × 0": lambda: np.zeros((0, 4, 3), np.uint8),
    "object": lambda: np.array([[{}]]),
    "NoneType": lambda: None,
    "a tuple of int, str": lambda: (1, "church"),
    "caption": lambda: {"caption": "a church"},
    "web address": lambda: "https://example.org/a.png",
    "gone.png": lambda: "gone.png",
    "no PNG": lambda: b"GIF89a",
    "floating-point": lambda: Image.new("F", (4, 4)),
}


class _Items:
    def __len__(self):
        return len(BAD) + 1

    def __getitem__(self, index):
        return PILLOW[0] if index == len(BAD) else list(BAD.values())[index]()


def test_items_that_raise_or_are_no_images_are_named_and_can_be_skipped(capsys):
    source = open_images(_Items())
    assert len(source.fingerprint()) == 64
    for index, said in enumerate(BAD):
        with pytest.raises(ImageError) as refused:
            source.read(index)
        assert said in str(refused.value)
        assert f"{index:06d}" in str(refused.value)
        assert "\n" not in str(refused.value)
    everything = range(len(BAD) + 1)
    (batch,) = batches(
        source, everything, Preparation(4), batch_size=99, workers=2, skip_broken=True
    )
    assert batch.positions == [len(BAD)]
    assert [entry.position for entry in batch.broken] == list(range(len(BAD)))


def test_ctrl_c_goes_through_and_what_items_print_goes_to_stderr(capsys):
    class Printing:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            print("loading")  # noqa: T201
            if index:
                raise KeyboardInterrupt
            return PILLOW[0]

    source = open_images(Printing())
    source.read(0)
    assert capsys.readouterr() == ("", "loading\n")
    with pytest.raises(KeyboardInterrupt):
        source.read(1)
