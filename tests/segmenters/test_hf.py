"""transformers models: one tiny random model of each family, saved and loaded again by spec."""

import json
import sys
import types

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from unseen.core.errors import (  # noqa: E402
    CheckpointError,
    DownloadError,
    MissingExtraError,
    SegmenterError,
)
from unseen.segmenters import checked_label_maps, load_segmenter  # noqa: E402
from unseen.segmenters import hf as hf_module  # noqa: E402

NAMES = {0: "sky", 1: "tree", 2: "person", 3: "tree"}
LABELS = {"id2label": NAMES, "label2id": {name: label for label, name in NAMES.items()}}
SIDE = 64

SWIN = {
    "image_size": SIDE,
    "embed_dim": 4,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "window_size": 2,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
# 32: the groups of their group norms
MASKS = {
    "hidden_dim": 32,
    "encoder_feedforward_dim": 8,
    "dim_feedforward": 8,
    "num_queries": 5,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": SIDE,
    "patch_size": 16,
    "out_indices": [1, 2, 3, 4],
    "use_auxiliary_head": False,
}
SETTINGS = {
    "Segformer": {
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [4, 4, 8, 8],
        "num_attention_heads": [1, 1, 1, 1],
        "decoder_hidden_size": 8,
    },
    "UperNet": {"hidden_size": 8, "auxiliary_in_channels": 4, "auxiliary_channels": 4},
    "Mask2Former": {"feature_size": 32, "mask_feature_size": 32, **MASKS},
    "OneFormer": {
        "conv_dim": 32,
        "mask_dim": 32,
        "query_dec_layers": 1,
        "task_seq_len": 12,
        "text_encoder_width": 8,
        "text_encoder_vocab_size": 60,
        "text_encoder_context_length": 12,
        "text_encoder_num_layers": 1,
        **MASKS,
    },
    "EomtDinov3": {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "image_size": SIDE,
        "patch_size": 16,
        "num_blocks": 1,
        "num_queries": 5,
        "num_register_tokens": 1,
        "num_upscale_blocks": 1,
    },
    "Sapiens2": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": SIDE,
        "num_first_full_attention_layers": 1,
        "num_last_full_attention_layers": 1,
        "head_config": {"upsample_out_channels": [8], "conv_out_channels": [8]},
    },
    "Beit": VIT,
    "Data2VecVision": VIT,
    "DPT": {
        **VIT,
        "backbone_out_indices": [0, 1, 2, 3],
        "neck_hidden_sizes": [4, 4, 8, 8],
        "fusion_hidden_size": 8,
    },
    "MobileNetV2": {"depth_multiplier": 0.1, "image_size": SIDE},
    "MobileViT": {
        "image_size": SIDE,
        "hidden_sizes": [8, 8, 8],
        "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 16],
        "num_attention_heads": 2,
        "aspp_out_channels": 8,
    },
    "MobileViTV2": {
        "image_size": SIDE,
        "width_multiplier": 0.25,
        "n_attn_blocks": [1, 1, 1],
        "aspp_out_channels": 8,
    },
    "Tipsv2Dpt": {
        "backbone_config": {
            "model_type": "tipsv2_vision_model",
            "hidden_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "out_indices": [1, 2, 3, 4],
            "apply_layernorm": True,
            "reshape_hidden_states": False,
        },
        "neck_hidden_sizes": [4, 4, 8, 8],
        "fusion_hidden_size": 8,
    },
    "Eomt": {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 1,
        "image_size": SIDE,
        "patch_size": 16,
        "num_blocks": 1,
        "num_queries": 5,
        "num_register_tokens": 1,
    },
}
FAMILIES = tuple(SETTINGS)
SEMANTIC = {  # family → the processor of its folder; some have none of their own, or without Pillow
    **dict.fromkeys(("Segformer", "UperNet", "Sapiens2", "Tipsv2Dpt"), "Segformer"),
    "Beit": "Beit",
    "Data2VecVision": "Beit",
    "DPT": "DPT",
    "MobileNetV2": "MobileNetV2",
    "MobileViT": "MobileViT",
    "MobileViTV2": "MobileViT",
}
TYPES = {
    "EomtDinov3": "eomt_dinov3",
    "Data2VecVision": "data2vec-vision",
    "MobileNetV2": "mobilenet_v2",
    "Tipsv2Dpt": "tipsv2_dpt",
}


def build(family):
    """A random model of a family, and its processor."""
    settings, kind, processor = {**SETTINGS[family], **LABELS}, "Universal", family
    resize = {"size": {"height": SIDE, "width": SIDE}}
    if family in ("Mask2Former", "OneFormer"):
        settings["backbone_config"] = transformers.SwinConfig(**SWIN)
    if family in SEMANTIC:
        kind, processor = "Semantic", SEMANTIC[family]
    if family == "UperNet":
        settings["backbone_config"] = transformers.ConvNextConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[4, 4, 4, 8], out_features=SWIN["out_features"]
        )
    if family == "OneFormer":
        resize["class_info_file"] = None
    if family == "EomtDinov3":
        processor = "Eomt"
    if family in ("Eomt", "EomtDinov3"):
        resize = {"size": {"shortest_edge": SIDE, "longest_edge": None}, "do_split_image": True}
    config = getattr(transformers, f"{family}Config")(**settings)
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}For{kind}Segmentation")(config)
    return model, getattr(transformers, f"{processor}ImageProcessorPil")(**resize)


def write_tokenizer(folder):
    """A CLIP tokenizer that knows single letters."""
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        vocab=vocabulary, merges=[], pad_token="<|endoftext|>", unk_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)


def save(family, folder):
    for part in build(family):
        part.save_pretrained(folder)
    if family == "Sapiens2":  # its own processor needs torchvision
        change(folder / "preprocessor_config.json", image_processor_type="Sapiens2ImageProcessor")
    if family == "OneFormer":
        write_tokenizer(folder)
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        # the published ones name a file on the hub, which must not be asked for
        settings |= {"class_info_file": "ade20k_panoptic.json", "repo_path": "nobody/nothing"}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    return save("Segformer", tmp_path / "model")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_labels_every_pixel_whatever_the_batch(family, tmp_path, images, monkeypatch):
    folder = save(family, tmp_path / "model")
    segmenter = load_segmenter(f"hf:{folder}")
    assert segmenter.channels == {"object": ("sky", "tree", "person", "tree (2)")}
    assert segmenter.resolution == SIDE
    assert segmenter.provenance["family"] == f"hf/{TYPES.get(family, family.lower())}"
    assert "model.safetensors" in segmenter.provenance["weights"]
    maps = checked_label_maps(segmenter, images)
    assert maps.shape == (3, SIDE, SIDE)
    monkeypatch.setattr(hf_module, "_BATCH", 1)
    # float32 sums in another order move ties only
    assert (checked_label_maps(segmenter, images) != maps).mean() < 0.01
    half = load_segmenter(folder, precision="bf16")  # a bare folder
    assert half.provenance["precision"] == "bf16"
    assert checked_label_maps(half, images).shape == maps.shape


def normalised(images):
    """Images as ImageNet's mean and deviation make them."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    inputs = (images / 255 - mean[:, None, None]) / deviation[:, None, None]
    return torch.from_numpy(inputs).float()


def interpolated(scores, side):
    return torch.nn.functional.interpolate(scores, (side, side), mode="bilinear")


def test_labels_are_the_argmax_of_the_models_own_scores(folder, images):
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    with torch.inference_mode():
        fine = interpolated(model(normalised(images)).logits, SIDE)
    labels = load_segmenter(f"hf:{folder}").label_maps(images)
    assert (labels != fine.argmax(1).numpy()).mean() < 1e-3  # ties within rounding


def test_masks_are_weighed_by_their_classes(tmp_path, images):
    folder = save("Mask2Former", tmp_path / "model")
    model = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    with torch.inference_mode():
        answer = model(normalised(images))
    masks = interpolated(answer.masks_queries_logits, 384)
    classes = answer.class_queries_logits.softmax(-1)[..., :-1]
    scores = torch.einsum("nqk,nqhw->nkhw", classes, masks.sigmoid())
    labels = load_segmenter(f"hf:{folder}").label_maps(images)
    assert (labels != interpolated(scores, SIDE).argmax(1).numpy()).mean() < 0.01


def test_torchvision_is_not_imported(folder, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it now fails
    segmenter = load_segmenter(f"hf:{folder}")
    assert type(segmenter.processor).__name__.endswith("Pil")
    checked_label_maps(segmenter, images)


def test_without_transformers_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="pip install transformers"):
        load_segmenter(f"hf:{tmp_path}")


def test_a_model_that_does_not_segment_is_refused(tmp_path):
    config = transformers.BertConfig(
        hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, vocab_size=9
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(SegmenterError, match="bert"):
        load_segmenter(f"hf:{tmp_path}")


def test_a_model_that_words_ask_is_pointed_to_open_vocabulary(tmp_path):
    from tests.support.open_models import save as save_open

    folder = save_open("clipseg", tmp_path / "clipseg")
    with pytest.raises(SegmenterError, match=f"open:clipseg:{folder}"):
        load_segmenter(f"hf:{folder}")


def test_a_backbone_without_a_head_is_refused(folder):
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder)
    model.segformer.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=str(folder)):
        load_segmenter(f"hf:{folder}")


def change(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_provenance_holds_every_file_that_is_read(tmp_path):
    folder = save("OneFormer", tmp_path / "model")
    build("OneFormer")[0].save_pretrained(folder, max_shard_size="60KB")
    (folder / "model.safetensors").unlink()
    (folder / "trainer_state.json").write_text("{}")  # read by nobody
    weights = load_segmenter(folder).provenance["weights"]
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    assert len(shards) > 1
    read = {"config.json", "preprocessor_config.json", "model.safetensors.index.json", *shards}
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}
    assert set(weights) == read | tokenizer
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        change(folder / name, harmless=1)
        now = load_segmenter(folder).provenance["weights"]
        assert now[name] != weights[name]


@pytest.mark.parametrize(
    "name",
    ["config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json"],
)
@pytest.mark.parametrize("depth", [0, 1])
def test_a_model_that_brings_code_is_refused_without_asking(folder, monkeypatch, name, depth):
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    entry = {"auto_map": dict.fromkeys(("AutoConfig", "AutoImageProcessor"), "code.Mine")}
    path = folder / name
    if not path.exists():
        path.write_text("{}")
    change(path, **(entry if depth == 0 else {"inner": [entry]}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on stdin"))
    with pytest.raises(CheckpointError, match=f"{name}.*auto_map"):
        load_segmenter(folder)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["other/kernels", {"": "other/kernels"}])
def test_kernels_from_the_hub_are_refused(folder, name):
    change(folder / "config.json", _attn_implementation=name)
    with pytest.raises(CheckpointError, match="attn_implementation"):
        load_segmenter(folder)


def test_a_folder_never_asks_the_hub(folder, monkeypatch):
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    asked = []

    class Processor(transformers.SegformerImageProcessorPil):
        def __init__(self, **settings):
            super().__init__(**settings)
            try:
                hf_hub_download("nobody/nothing", "more.json")
            except Exception as error:  # noqa: BLE001 - the hub's errors share no base class
                asked.append(type(error).__name__)

    monkeypatch.setattr(hf_module, "_load_processor", lambda folder: Processor())
    load_segmenter(folder)
    assert asked == ["LocalEntryNotFoundError"]
    assert not constants.HF_HUB_OFFLINE


def test_shards_outside_of_the_folder_and_missing_ones_are_refused(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    for name in ("../model.safetensors", str(folder.parent / "model.safetensors"), "absent"):
        index.write_text(json.dumps({"metadata": {}, "weight_map": {"weight": name}}))
        with pytest.raises(CheckpointError, match=name):
            load_segmenter(folder)
    index.unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        load_segmenter(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="adapter"):
        load_segmenter(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", "broken"),
        ("config.json", None),
        ("config.json", "[]"),
        ("config.json", "[" * 100_000),
        ("config.json", '{"model_type": "segformer", "id2label": 3}'),
        ("config.json", '{"model_type": "segformer", "id2label": {"x": "y"}}'),
        ("preprocessor_config.json", "{"),
        ("preprocessor_config.json", '{"image_processor_type": "Nothing"}'),
        (
            "preprocessor_config.json",
            '{"image_processor_type": "SegformerImageProcessor", '
            '"size": {"height": "x", "width": []}}',
        ),
    ],
)
def test_broken_files_are_one_clear_error(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(CheckpointError) as caught:
        load_segmenter(f"hf:{folder}")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        types.SimpleNamespace(),
        types.SimpleNamespace(logits=[1]),
        types.SimpleNamespace(logits=torch.zeros(3, 4, 2)),
        types.SimpleNamespace(logits=torch.zeros(3, 3, 2, 2)),
        types.SimpleNamespace(logits=torch.zeros(2, 4, 2, 2)),
        types.SimpleNamespace(logits=torch.full((3, 4, 2, 2), torch.nan)),
    ],
)
def test_a_model_that_answers_something_else_is_one_error_that_names_it(folder, images, answer):
    segmenter = load_segmenter(f"hf:{folder}")
    segmenter.network = lambda **given: answer
    with pytest.raises(SegmenterError, match=f"hf:{folder}"):
        checked_label_maps(segmenter, images)


@pytest.mark.parametrize("variable", ["UNSEEN_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_says_so(monkeypatch, variable):
    for name in ("UNSEEN_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1" if name == variable else "0")
    with pytest.raises(DownloadError, match=f"nobody/has-this-model.*{variable}"):
        load_segmenter("hf:nobody/has-this-model")


def test_a_hub_that_is_away_says_so(monkeypatch):
    import huggingface_hub

    def away(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(DownloadError, match=r"nobody/has-this-model.*no route to host"):
        load_segmenter("hf:nobody/has-this-model")


def test_a_missing_folder_is_no_hub_name():
    with pytest.raises(CheckpointError, match=r"\./models/not/there"):
        load_segmenter("hf:./models/not/there")
