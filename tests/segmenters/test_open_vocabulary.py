"""Segmenters of open vocabulary: tiny random networks of each kind, made offline."""

import json
import sys
import time

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from tests.support.open_models import KINDS, SIDE, clipseg, save  # noqa: E402

from unseen.core.errors import (  # noqa: E402
    CheckpointError,
    MissingExtraError,
    SegmenterError,
    SpecError,
)
from unseen.core.registry import parse_spec  # noqa: E402
from unseen.segmenters import checked_labels, load_segmenter, open_networks  # noqa: E402
from unseen.segmenters import open_vocabulary as module  # noqa: E402
from unseen.segmenters.open_classes import (  # noqa: E402
    OpenClass,
    classes_csv,
    read_classes,
    with_classes,
)

CLASSES = ("cat", "red balloon", "dog")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind, made when it is asked for."""
    root, made = tmp_path_factory.mktemp("networks"), {}

    def folder(kind):
        if kind not in made:
            made[kind] = save(kind, root / kind)
        return made[kind]

    return folder


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)


def opened(kind, folder, *, threshold=0.3, **options):
    more = "".join(f"&{key}={value}" for key, value in options.items())
    text = f"open:{kind}:{folder}?classes={','.join(CLASSES)}&threshold={threshold}{more}"
    return load_segmenter(text)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_masks_of_every_class_whatever_the_batch(
    kind, folders, images, monkeypatch
):
    segmenter = opened(kind, folders(kind))
    assert segmenter.channels == {"object": CLASSES}
    assert segmenter.provenance["family"].startswith(f"open/{kind}")
    assert "model.safetensors" in segmenter.provenance["weights"]
    assert "tokenizer.json" in segmenter.provenance["weights"]
    answer = checked_labels(segmenter, images)
    masks, counts = segmenter.masks_and_instances(images)
    assert masks.shape[:2] == (3, 3)
    assert (answer.instances is None) == (kind == "clipseg") == (counts is None)
    if counts is not None:
        assert (masks.any((2, 3)) <= (counts > 0)).all()
    monkeypatch.setattr(module, "_BATCH", 1)
    assert (segmenter.masks(images) != masks).mean() < 0.01  # float32 sums in another order


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_threshold_calls_less_and_call_scores_say_from_where_on(kind, folders, images):
    scores = opened(kind, folders(kind)).call_scores(images, 0.005)
    assert scores.shape == (3, 3)
    for limit in (0.02, 0.2, 0.5):
        masks = opened(kind, folders(kind), threshold=limit).masks(images)
        present = masks.mean((2, 3)) >= 0.005
        clear = np.abs(scores - limit) > 1e-4  # of float32 in another order
        if kind not in ("owlv2", "grounding-dino"):  # whose boxes of one thing are thinned out
            np.testing.assert_array_equal(present[clear], (scores >= limit)[clear])


@torch.inference_mode()
def test_clipseg_scores_are_those_of_the_plain_call(folders, images):
    network = opened("clipseg", folders("clipseg")).network
    pixels = torch.from_numpy(images)
    scores = network.pixel_scores(network.see(pixels))
    ids, mask = network.tokens(CLASSES, 16)
    for k in range(len(CLASSES)):
        plain = network.model(
            pixel_values=network.inputs.prepare(pixels),
            input_ids=ids[k].expand(3, -1),
            attention_mask=mask[k].expand(3, -1),
        )
        torch.testing.assert_close(scores[:, k], plain.logits.sigmoid(), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["sam3", "sam3-lite-text"])
def test_sam3_regions_are_those_of_the_plain_call(kind, folders, images):
    network = opened(kind, folders(kind)).network
    pixels = torch.from_numpy(images)
    found = network.regions(network.see(pixels), [0.1] * 3)
    for k in range(len(CLASSES)):
        plain = network.model(
            pixel_values=network.inputs.prepare(pixels),
            input_ids=network.ids[k].expand(3, -1),
            attention_mask=network.mask[k].expand(3, -1),
        )
        scores = plain.pred_logits.sigmoid() * plain.presence_logits.sigmoid()
        for image in range(3):
            kept = scores[image] >= 0.1
            best = scores[image][kept].sort(descending=True).values
            torch.testing.assert_close(found[image][k].scores, best, atol=1e-5, rtol=1e-4)
            union = (plain.pred_masks[image][kept] > 0).any(0)
            assert (found[image][k].masks.any(0) != union).float().mean() < 0.01


@torch.inference_mode()
def test_owlv2_scores_are_those_of_the_plain_call(folders, images):
    network = opened("owlv2", folders("owlv2")).network
    pixels = torch.from_numpy(images)
    _, scores, _ = network.boxes(network.see(pixels))
    ids, mask = network.tokens(CLASSES, 16)
    plain = network.model(
        input_ids=ids.repeat(3, 1),
        attention_mask=mask.repeat(3, 1),
        pixel_values=network.inputs.prepare(pixels),
    )
    torch.testing.assert_close(scores, plain.logits.sigmoid(), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_grounding_dino_reads_as_many_classes_in_a_sentence_as_fit(folders, images):
    network = opened("grounding-dino", folders("grounding-dino")).network
    lengths = [len(ids[0]) for ids, _ in network.sentences]
    assert len(lengths) == 1  # 3 + 10 + 3 letters, 3 full stops, start and end
    assert lengths == [3 + 10 + 3 + 3 + 2]
    network.embed(["abcdefghijkl", "mnopqrstuvwx", "yz"])
    assert [len(places) for _, places in network.sentences] == [1, 2]
    _, scores, boxes = network.boxes(network.see(torch.from_numpy(images)))
    assert scores.shape == (3, 10, 3)  # five queries a sentence
    assert (scores[:, :5, 1:] == 0).all()  # the first sentence knows the first class alone
    assert ((boxes >= 0) & (boxes <= 1)).all()


def test_an_image_is_embedded_once_for_all_classes_and_words_once_a_run(
    folders, images, monkeypatch
):
    segmenter = opened("sam3", folders("sam3"))
    calls = []
    for name in ("vision_encoder", "text_encoder"):
        part = getattr(segmenter.network.model, name)
        part.register_forward_hook(lambda *_, name=name: calls.append(name))
    segmenter.masks(images)
    segmenter.masks(images)
    assert calls == ["vision_encoder"] * 2


@pytest.mark.parametrize("kind", ["owlv2", "grounding-dino"])
def test_sam2_makes_masks_of_boxes(kind, folders, images):
    segmenter = opened(kind, folders(kind), threshold=0.01, masks=folders("sam2"))
    masks, counts = segmenter.masks_and_instances(images)
    assert masks.shape == (3, 3, 16, 16)  # a quarter of SAM 2's side
    assert segmenter.provenance["family"] == f"open/{kind}+sam2"
    assert "masks/model.safetensors" in segmenter.provenance["weights"]
    nothing = opened(kind, folders(kind), threshold=1, masks=folders("sam2"))
    masks, counts = nothing.masks_and_instances(images)
    assert masks.shape == (3, 3, 16, 16)
    assert not masks.any()
    assert not counts.any()


def test_boxes_without_sam2_are_filled():
    boxes = torch.tensor([[0.25, 0.5, 0.75, 1.0]])
    (mask,) = open_networks.fill_boxes(torch.zeros(3, 8, 8, dtype=torch.uint8), boxes)
    assert mask.float().mean() == 0.25
    assert mask[200, 128]
    assert not mask[100, 128]


def test_boxes_of_one_thing_are_counted_once():
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0.5, 0.5, 1, 1]])
    assert open_networks._distinct(torch.tensor([1, 0, 2]), boxes).tolist() == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_torchvision_is_not_needed(kind, folders, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it now fails
    opened(kind, folders(kind)).masks(images[:1])


def test_inputs_are_resized_and_normalised_as_the_settings_say(folders, tmp_path):
    settings = {"size": {"height": 4, "width": 4}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    inputs = open_networks.Inputs.of(tmp_path, 9, open_networks._HALF)
    halves = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    halves[..., 4:] = 255
    prepared = inputs.prepare(halves)
    assert prepared.shape == (1, 3, 4, 4)
    assert prepared[0, 0, 0, 0] == -2  # (0 − 0.5) / 0.25
    assert prepared[0, 0, 0, 3] == 2
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"resample": 5}))
    with pytest.raises(CheckpointError, match="5"):
        open_networks.Inputs.of(tmp_path, 9, open_networks._HALF)


def test_classes_come_from_a_list_or_a_file(tmp_path):
    assert [found.name for found in read_classes("cat, hot-air balloon")] == [
        "cat",
        "hot-air balloon",
    ]
    plain = tmp_path / "names.txt"
    plain.write_text("cat\n\nMr, Dog\n")
    assert [found.name for found in read_classes(str(plain))] == ["cat", "Mr, Dog"]
    classes = (
        OpenClass("cat", "a photo of a cat", 0.25),
        OpenClass("dog, large", "dog, large"),
    )
    table = tmp_path / "classes.csv"
    table.write_text(classes_csv(classes))
    assert read_classes(str(table)) == classes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cat,cat", "cat"),
        ("cat,,dog", "without a name"),
        ("name,colour\ncat,red\n", "colour"),
        ("name,threshold\ncat,2\n", "2"),
        ("name,threshold\ncat,high\n", "high"),
    ],
)
def test_classes_that_are_none_are_refused(tmp_path, text, named):
    if "\n" in text:
        (tmp_path / "classes.csv").write_text(text)
        text = str(tmp_path / "classes.csv")
    with pytest.raises(SpecError, match=named):
        read_classes(text)


def test_a_missing_file_of_classes_is_named():
    with pytest.raises(SpecError, match=r"absent\.csv"):
        read_classes("absent.csv")


def test_classes_beside_a_spec_join_it():
    assert with_classes("open:sam3:x", None) == "open:sam3:x"
    told = with_classes("open:sam3:x?threshold=0.4", "cat,dog")
    assert parse_spec(told).options == {"threshold": "0.4", "classes": "cat,dog"}
    for segmenter in ("hf:x", None, "open:sam3:x?classes=cat"):
        with pytest.raises(SpecError, match="dog"):
            with_classes(segmenter, "dog")


def test_thresholds_of_a_table_go_before_that_of_the_spec(folders, tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("name,threshold\ncat,0.25\ndog,\n")
    spec = f"open:clipseg:{folders('clipseg')}?classes={table}&threshold=0.125"
    assert [found.threshold for found in load_segmenter(spec).classes] == [0.25, 0.125]
    usual = load_segmenter(f"open:clipseg:{folders('clipseg')}?classes=cat")
    assert usual.classes[0].threshold == 0.5
    # what decides the masks is recorded, and where the list lies is not
    assert usual.provenance["classes"] == [{"name": "cat", "prompt": "cat", "threshold": 0.5}]
    assert "classes" not in usual.provenance["spec"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("open:sam4:x?classes=cat", "sam4"),
        ("open:sam3?classes=cat", "sam3"),
        ("open:sam3:x", "classes"),
        ("open:sam3:x?classes=cat&masks=y", "masks"),
        ("open:clipseg:{folder}?classes=cat&threshold=0", "0"),
    ],
)
def test_specs_that_are_none_are_refused(folders, options, named):
    with pytest.raises(SpecError, match=named):
        load_segmenter(options.format(folder=folders("clipseg")))


def test_a_prompt_that_is_too_long_is_named(folders):
    with pytest.raises(SegmenterError, match="abcdefghijklmnopqrstuvwxyz"):
        load_segmenter(f"open:clipseg:{folders('clipseg')}?classes=cat,abcdefghijklmnopqrstuvwxyz")


def test_a_folder_of_another_network_is_refused(folders):
    with pytest.raises(CheckpointError, match=str(folders("owlv2"))):
        load_segmenter(f"open:clipseg:{folders('owlv2')}?classes=cat")


def test_label_maps_of_overlapping_classes_are_refused(folders, images):
    with pytest.raises(SegmenterError, match="overlap"):
        opened("clipseg", folders("clipseg")).label_maps(images)


def test_without_transformers_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="pip install transformers"):
        load_segmenter(f"open:clipseg:{tmp_path}?classes=cat")


@pytest.mark.slow
@torch.inference_mode()
def test_twenty_classes_take_little_more_than_the_encoder_and_the_heads():
    """A ratio within one run: the encoder runs once, whatever the number of classes."""
    model = clipseg(side=224, width=192, layers=6).eval()
    network = object.__new__(open_networks.ClipSeg)
    network.model, network.device = model, torch.device("cpu")
    network.inputs = open_networks.Inputs(224, (0.5,) * 3, (0.5,) * 3, "bilinear")
    network.conditions = torch.randn(20, 16)
    network.files = {}
    classes = [OpenClass(str(k), str(k), 0.5) for k in range(20)]
    segmenter = module.OpenVocabularySegmenter(network, classes, spec="x", family="clipseg")
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 224, 224), dtype=np.uint8)
    pixels = torch.from_numpy(images)
    seen = network.see(pixels)
    parts = {
        "all": lambda: segmenter.masks(images),
        "encoder": lambda: network.see(pixels),
        "heads": lambda: network.pixel_scores(seen),
    }
    seconds = {name: [] for name in parts}
    for _ in range(5):  # in turns, so that a busy machine slows all alike
        for name, part in parts.items():
            began = time.process_time()
            part()
            seconds[name].append(time.process_time() - began)
    best = {name: min(of) for name, of in seconds.items()}
    assert best["all"] <= 1.5 * (best["encoder"] + best["heads"])
