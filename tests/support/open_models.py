"""Tiny random networks of open vocabulary, as `save_pretrained` leaves them in a folder."""

import json
from pathlib import Path

import torch
import transformers

SIDE = 56  # of their images
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXT = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "projection_dim": 16,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 14,
}
SMALL = {"hidden_size": 16, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def write_clip_tokenizer(folder: Path) -> None:
    """A CLIP tokenizer that knows single letters."""
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    transformers.CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    ).save_pretrained(folder)


def write_bert_tokenizer(folder: Path) -> None:
    """A BERT tokenizer that knows single letters and the full stop."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *LETTERS]
    words += [f"##{letter}" for letter in LETTERS]
    transformers.BertTokenizer(
        vocab={word: index for index, word in enumerate(words)}
    ).save_pretrained(folder)


def clipseg(*, side: int = SIDE, width: int = 16, layers: int = 2) -> torch.nn.Module:
    """CLIPSeg with an image encoder of this width and depth."""
    config = transformers.CLIPSegConfig(
        text_config=TEXT,
        vision_config={
            **VISION,
            "image_size": side,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
        },
        projection_dim=16,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=8,
        conditional_layer=0,
    )
    return transformers.CLIPSegForImageSegmentation(config)


def _sam3(kind: str, text: dict[str, object]) -> torch.nn.Module:
    config = getattr(transformers, f"{kind}Config")(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "window_size": 2,
                "global_attn_indexes": [1],
                **VISION,
                "pretrain_image_size": 28,
            },
            "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config=text,
        geometry_encoder_config=SMALL,
        detr_encoder_config=SMALL,
        detr_decoder_config={**SMALL, "num_queries": 6},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    return getattr(transformers, f"{kind}Model")(config)


def sam3() -> torch.nn.Module:
    """SAM 3 with six queries."""
    return _sam3("Sam3", {"model_type": "clip_text_model", **TEXT})


def sam3_lite_text() -> torch.nn.Module:
    """The same with the small text encoder."""
    return _sam3("Sam3LiteText", {**TEXT, "use_repmixer_blocks": False})


def owlv2() -> torch.nn.Module:
    """OWLv2 with sixteen patches."""
    text = {key: value for key, value in TEXT.items() if key != "projection_dim"}
    config = transformers.Owlv2Config(text_config=text, vision_config=VISION, projection_dim=16)
    return transformers.Owlv2ForObjectDetection(config)


def grounding_dino() -> torch.nn.Module:
    """Grounding DINO with five queries."""
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64,
            embed_dim=4,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=60,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        num_queries=5,
        max_text_len=24,
    )
    return transformers.GroundingDinoForObjectDetection(config)


def sam2() -> torch.nn.Module:
    """SAM 2 of images of 64 × 64."""
    config = transformers.Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 4,
                "image_size": [64, 64],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [4, 8, 16, 32],
                "num_attention_heads_per_stage": [1, 1, 1, 1],
                "window_size_per_stage": [8, 4, 4, 4],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [2, 2],
            },
            "backbone_channel_list": [32, 16, 8, 4],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 16,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    return transformers.Sam2Model(config)


KINDS = {
    "clipseg": clipseg,
    "sam3": sam3,
    "sam3-lite-text": sam3_lite_text,
    "owlv2": owlv2,
    "grounding-dino": grounding_dino,
}


def save(kind: str, folder: Path) -> Path:
    """Write a network of this kind, its tokenizer and its settings."""
    torch.manual_seed(0)
    model = (sam2 if kind == "sam2" else KINDS[kind])()
    for weight in model.parameters():  # as they begin, all scores are alike
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    side = {"sam2": 64, "grounding-dino": 128}.get(kind, SIDE)
    size = {"height": side, "width": side}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    if kind == "grounding-dino":
        write_bert_tokenizer(folder)
    elif kind != "sam2":
        write_clip_tokenizer(folder)
    return folder
