"""Unified Perceptual Parsing: the published names, an independent forward pass, the label rules.

The names of weights, and the forward pass, are written out here from the authors' description and
never read from the module, so that a misnamed or misplaced layer fails.
"""

import dataclasses
import json

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from unseen.core.errors import CheckpointError, SegmenterError
from unseen.segmenters import checked_label_maps, load_segmenter
from unseen.segmenters import upp as upp_module
from unseen.segmenters.unified_parsing import HEADS, Sizes, UnifiedParsing, fast_network
from unseen.segmenters.upp import Labels, network_input, vocabulary_of

LABELS = {
    "object": ["-", "sky", "person", "door", "car", "wall"],
    "part": ["-", "door", "head", "leg", "wheel"],
    "material": ["-", "brick", "glass"],
    "scene": ["church", "kitchen", "street"],
    # not in the objects' order: the network's scores are, the numbering is not
    "object_part": {"car": ["-", "wheel", "door"], "person": ["-", "head", "leg", "wheel"]},
}
NARROW = Sizes(
    classes={"object": 6, "part": 7, "material": 3, "scene": 3},
    stem=(4, 5, 6),
    planes=(2, 3, 4, 5),
    blocks=(2, 1, 1, 2),
    pool_width=3,
    pyramid_width=8,
)


def names_of(sizes):
    """Every weight of the two files, with its shape: {"encoder": …, "decoder": …}."""
    encoder, decoder = {}, {}

    def norm(into, name, width):
        for part in ("weight", "bias", "running_mean", "running_var"):
            into[f"{name}.{part}"] = (width,)

    def block(into, name, inputs, outputs, kernel):  # convolution 0, norm 1, ReLU 2
        into[f"{name}.0.weight"] = (outputs, inputs, kernel, kernel)
        norm(into, f"{name}.1", outputs)

    inputs = 3
    for index, width in enumerate(sizes.stem, 1):
        encoder[f"conv{index}.weight"] = (width, inputs, 3, 3)
        norm(encoder, f"bn{index}", width)
        inputs = width
    for stage, (planes, count) in enumerate(zip(sizes.planes, sizes.blocks, strict=True), 1):
        for position in range(count):
            name = f"layer{stage}.{position}"
            shapes = [(planes, inputs, 1, 1), (planes, planes, 3, 3), (4 * planes, planes, 1, 1)]
            for index, shape in enumerate(shapes, 1):
                encoder[f"{name}.conv{index}.weight"] = shape
                norm(encoder, f"{name}.bn{index}", shape[0])
            if position == 0:
                block(encoder, f"{name}.downsample", inputs, 4 * planes, 1)
            inputs = 4 * planes
    width = sizes.pyramid_width
    for index in range(4):
        block(decoder, f"ppm_conv.{index}", inputs, sizes.pool_width, 1)
    block(decoder, "ppm_last_conv", inputs + 4 * sizes.pool_width, width, 3)
    for index in range(3):
        block(decoder, f"fpn_in.{index}", 4 * sizes.planes[index], width, 1)
        block(decoder, f"fpn_out.{index}.0", width, width, 3)
    block(decoder, "conv_fusion", 4 * width, width, 3)
    for head, classifier in (("scene", 2), ("object", 1), ("part", 1), ("material", 1)):
        block(decoder, f"{head}_head.0", width, width, 3)
        decoder[f"{head}_head.{classifier}.weight"] = (sizes.classes[head], width, 1, 1)
        decoder[f"{head}_head.{classifier}.bias"] = (sizes.classes[head],)
    return {"encoder": encoder, "decoder": decoder}


def random_weights(sizes, seed=0):
    """Files in the published layout, with what they hold beside the weights in use."""
    generator = torch.Generator().manual_seed(seed)
    files = {}
    for file, shapes in names_of(sizes).items():
        files[file] = {}
        for name, shape in shapes.items():
            value = torch.randn(shape, generator=generator)
            if len(shape) == 4:
                value /= (shape[1] * shape[2] * shape[3]) ** 0.5
            elif name.endswith("running_var"):
                value = 0.5 + value.abs()
            elif name.endswith(("running_mean", "bias")):
                value = 0.3 * value
            else:
                value = 1 + 0.2 * value
            files[file][name] = value
        files[file]["bn1._running_iter"] = torch.ones(1)  # of the synchronised batch norm
        files[file]["bn1._tmp_running_mean"] = torch.ones(3)
        files[file]["bn1.num_batches_tracked"] = torch.tensor(7)
    files["encoder"]["conv1.weight"] /= 60  # images are in the hundreds
    files["encoder"]["fc.weight"] = torch.ones(2, 2)
    return files


def write_folder(folder, sizes=NARROW, labels=LABELS):
    folder.mkdir()
    for file, weights in random_weights(sizes).items():
        torch.save(weights, folder / f"{file}_epoch_40.pth")
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder


def forward_by_hand(files, images, sizes):
    """The network once more, from the file's weights and torch.nn.functional alone."""

    def norm(x, weights, name):
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        x = (x - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None]
        return x * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]

    def block(x, weights, name):
        weight = weights[f"{name}.0.weight"]
        return norm(F.conv2d(x, weight, padding=weight.shape[-1] // 2), weights, f"{name}.1").relu()

    def pool(x, cells):  # by brute force: 60 midpoints a unit of length
        steps = 60
        grid = torch.nn.functional.pad(x, (0, 1, 0, 1))
        at = (torch.arange(x.shape[-1] * steps, dtype=x.dtype) + 0.5) / steps
        low, share = at.long(), at - at.floor()
        rows = grid[:, :, low] * (1 - share)[:, None] + grid[:, :, low + 1] * share[:, None]
        full = rows[..., low] * (1 - share) + rows[..., low + 1] * share
        return F.avg_pool2d(full, full.shape[-1] // cells)

    def up(x, like):
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)

    e, d = files["encoder"], files["decoder"]
    x = images
    for index in (1, 2, 3):
        stride = 2 if index == 1 else 1
        x = F.conv2d(x, e[f"conv{index}.weight"], stride=stride, padding=1)
        x = norm(x, e, f"bn{index}").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    stages = []
    for stage, count in enumerate(sizes.blocks, 1):
        for position in range(count):
            name, stride = f"layer{stage}.{position}", 2 if stage > 1 and position == 0 else 1
            y = norm(F.conv2d(x, e[f"{name}.conv1.weight"]), e, f"{name}.bn1").relu()
            y = F.conv2d(y, e[f"{name}.conv2.weight"], stride=stride, padding=1)
            y = norm(y, e, f"{name}.bn2").relu()
            y = norm(F.conv2d(y, e[f"{name}.conv3.weight"]), e, f"{name}.bn3")
            if position == 0:
                x = F.conv2d(x, e[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(x, e, f"{name}.downsample.1")
            x = (x + y).relu()
        stages.append(x)
    pooled = [block(up(pool(x, k), x), d, f"ppm_conv.{i}") for i, k in enumerate((1, 2, 3, 6))]
    top = f = block(torch.cat([x, *pooled], 1), d, "ppm_last_conv")
    levels = [f]
    for index in (2, 1, 0):
        lateral = block(stages[index], d, f"fpn_in.{index}")
        f = lateral + up(f, lateral)
        levels.insert(0, block(f, d, f"fpn_out.{index}.0"))
    fused = block(torch.cat([up(level, levels[0]) for level in levels], 1), d, "conv_fusion")

    def head(x, name, classifier):
        x = block(x, d, f"{name}_head.0")
        x = x.mean((2, 3), keepdim=True) if name == "scene" else x
        return F.conv2d(
            x, d[f"{name}_head.{classifier}.weight"], d[f"{name}_head.{classifier}.bias"]
        )

    return {
        "scene": head(top, "scene", 2),
        "material": head(levels[0], "material", 1),
        "object": head(fused, "object", 1),
        "part": head(fused, "part", 1),
    }


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("upp") / "narrow")
    files = {name: folder / name for name in (upp_module.ENCODER, upp_module.DECODER)}
    return random_weights(NARROW), upp_module.read_network(files, NARROW)


@pytest.fixture
def images():
    # 192 = 6 cells at stride 32: the brute-force pooling above needs whole steps a cell
    return np.random.default_rng(0).integers(0, 256, (2, 3, 192, 192), dtype=np.uint8)


def test_the_published_widths_have_the_published_names():
    classes = {"object": 336, "part": 427, "material": 26, "scene": 365}
    sizes = Sizes(classes=classes)
    with torch.device("meta"):
        network = UnifiedParsing(sizes)
    for part, expected in names_of(sizes).items():
        found = {
            name: tuple(value.shape)
            for name, value in network.get_submodule(part).state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        assert found == expected
    assert names_of(sizes)["decoder"]["conv_fusion.0.weight"] == (512, 2048, 3, 3)
    assert names_of(sizes)["encoder"]["layer4.2.conv3.weight"] == (2048, 512, 1, 1)


def test_every_head_equals_a_forward_pass_written_by_hand(narrow, images):
    files, network = narrow
    doubled = {f: {k: v.double() for k, v in w.items()} for f, w in files.items()}
    inputs = network_input(torch.from_numpy(images)).double()
    expected = forward_by_hand(doubled, inputs, NARROW)
    plain = UnifiedParsing(NARROW).double().eval()
    plain.load_state_dict(network.state_dict())
    with torch.inference_mode():
        found = plain(inputs)
        fast = fast_network(plain, HEADS, torch.float64)(inputs, HEADS)
    for head in HEADS:
        # the brute-force pooling errs by the midpoint rule: 1e-4 of the features
        assert (found[head] - expected[head]).abs().max() < 2e-3 * expected[head].std(), head
        # torch's weights of interpolation by a third sum to one to 3e-8, even in float64
        assert (fast[head] - found[head]).abs().max() < 1e-6, head


def test_only_the_heads_asked_for_are_computed(narrow, images):
    _, network = narrow
    with torch.inference_mode():
        assert list(network(network_input(torch.from_numpy(images)), ["object"])) == ["object"]


def plain_labels(network, images):
    """Softmax of every interpolated head, then the rules of Bau et al.: the slow way."""
    size = images.shape[-2:]
    with torch.inference_mode():
        scores = network(network_input(torch.from_numpy(images)))
        fine = {
            head: F.interpolate(scores[head], size, mode="bilinear", align_corners=False)
            for head in ("object", "material", "part")
        }
    objects = fine["object"].softmax(1).argmax(1)
    materials = fine["material"].softmax(1).argmax(1)
    parts = torch.zeros_like(objects)
    # person (2) has the first four scores, car (4) the next three: ascending objects.
    # Labels in the file's order: wheel of the car 1, door 2, then head 3, leg 4
    for owner, first, numbers in ((2, 0, [0, 3, 4, 1]), (4, 4, [0, 1, 2])):
        own = fine["part"][:, first : first + len(numbers)].softmax(1).argmax(1)
        parts = torch.where(objects == owner, torch.tensor(numbers)[own], parts)
    return fine, {"object": objects, "material": materials, "part": parts}


def test_labels_follow_the_rules_of_the_paper(tmp_path, narrow, images):
    segmenter = load_segmenter(f"upp:{write_folder(tmp_path / 'upp')}")
    fine, expected = plain_labels(narrow[1], images)
    best = {head: scores.topk(2, 1).values for head, scores in fine.items()}
    for channel in ("object", "material", "part"):
        differ = torch.from_numpy(segmenter.label_maps(images, channel)) != expected[channel]
        head = "object" if channel == "part" else channel
        close = best[head][:, 0] - best[head][:, 1] < 1e-4  # rounding of float32 logits
        assert not (differ & ~close).any() or (channel == "part" and differ.float().mean() < 1e-3)
    assert segmenter.label_maps(images).shape == (2, 192, 192)
    assert {"object", "material", "part"} == set(segmenter.channels)


def test_numbers_follow_labels_json():
    vocabulary = vocabulary_of(msgspec.convert(LABELS, Labels))
    assert vocabulary.channels == {
        "object": ("none", "sky", "person", "door", "car", "wall"),
        "material": ("none", "brick", "glass"),
        "part": ("none", "wheel", "door", "head", "leg"),
    }
    assert [(p.owner, p.first, p.labels) for p in vocabulary.parts] == [
        (2, 0, (0, 3, 4, 1)),  # the network's scores go by ascending object: person before car
        (4, 4, (0, 1, 2)),
    ]


def test_parts_are_given_only_where_their_owner_won(tmp_path, images):
    segmenter = load_segmenter(write_folder(tmp_path / "upp"))  # a bare folder
    objects = segmenter.label_maps(images)
    parts = checked_label_maps(segmenter, images, "part")
    assert (parts[~np.isin(objects, [2, 4])] == 0).all()
    assert (parts > 0).any()


def test_batches_change_nothing(tmp_path, images, monkeypatch):
    segmenter = load_segmenter(write_folder(tmp_path / "upp"))
    together = segmenter.label_maps(images)
    monkeypatch.setitem(upp_module._BATCH, "cpu", 1)
    assert (segmenter.label_maps(images) != together).mean() < 1e-3  # ties within rounding


def test_bf16_is_recorded_and_agrees_with_fp32(tmp_path, images):
    folder = write_folder(tmp_path / "upp")
    full, half = load_segmenter(folder), load_segmenter(folder, precision="bf16")
    assert (full.provenance["precision"], half.provenance["precision"]) == ("fp32", "bf16")
    assert full.provenance["weights"] == half.provenance["weights"]
    assert json.loads(json.dumps(half.provenance))["weights"].keys() == {
        "encoder_epoch_40.pth",
        "decoder_epoch_40.pth",
        "labels.json",
    }
    # random weights leave small margins between classes; trained ones agree far better
    assert (full.label_maps(images) == half.label_maps(images)).mean() > 0.9


def test_files_that_do_not_fit_are_named(tmp_path):
    folder = write_folder(tmp_path / "upp")
    weights = torch.load(folder / "decoder_epoch_40.pth", weights_only=True)
    weights["conv_fusion.0.bias"] = weights.pop("conv_fusion.0.weight")
    torch.save(weights, folder / "decoder_epoch_40.pth")
    with pytest.raises(CheckpointError, match=r"decoder_epoch_40.*conv_fusion\.0\.weight"):
        load_segmenter(f"upp:{folder}")
    (folder / "labels.json").unlink()
    with pytest.raises(CheckpointError, match=r"labels\.json is missing"):
        load_segmenter(f"upp:{folder}")


class Wants:
    """A pickle of it asks to call a function while loading."""

    def __reduce__(self):
        return (print, ("run while loading",))


def test_a_checkpoint_that_asks_to_run_code_is_not_loaded(tmp_path, capsys):
    folder = write_folder(tmp_path / "upp")
    torch.save({"conv1.weight": Wants()}, folder / "encoder_epoch_40.pth")
    with pytest.raises(CheckpointError, match="encoder_epoch_40"):
        load_segmenter(f"upp:{folder}")
    assert "run while loading" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"object_part": {"boat": ["-"]}}, "boat"),
        ({"object_part": ["boat"]}, "object_part"),
        ({"part": 3}, "part"),
        ({"object": []}, "object"),
        ({"material": ["-", 2]}, "material"),
        ({"scene": None}, "scene"),
    ],
)
def test_a_labels_file_of_another_layout_is_named(tmp_path, changes, found):
    folder = write_folder(tmp_path / "upp")
    (folder / "labels.json").write_text(json.dumps({**LABELS, **changes}))
    with pytest.raises(CheckpointError, match=rf"labels\.json.*{found}"):
        load_segmenter(f"upp:{folder}")


def test_an_unknown_channel_lists_the_channels(tmp_path, images):
    segmenter = load_segmenter(write_folder(tmp_path / "upp"))
    with pytest.raises(SegmenterError, match=r"'scene'.*object, material, part"):
        segmenter.label_maps(images, "scene")


@pytest.fixture(autouse=True)
def narrow_files(monkeypatch):
    """The published widths come from no file: tests of whole folders use narrow ones."""
    monkeypatch.setattr(
        upp_module, "Sizes", lambda classes: dataclasses.replace(NARROW, classes=classes)
    )
