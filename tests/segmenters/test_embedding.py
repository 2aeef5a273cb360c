"""Features of patches: of a segmenter, of a vision transformer, and words by a text tower."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.pipelines import clip_config, clip_tokenizer
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
)

from unseen.churchyard.segmenter import WEIGHTS, load_network
from unseen.core.errors import SegmenterError
from unseen.segmenters.embedding import NetworkEmbedding, load_embedding

PROCESSOR = """{
 "image_processor_type": "%s", "do_resize": true, "size": {"shortest_edge": 28},
 "do_center_crop": true, "crop_size": {"height": 28, "width": 28}, "do_rescale": true,
 "rescale_factor": 0.00392156862745098, "do_normalize": true,
 "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]
}"""


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 28, 28), np.uint8)


def test_a_segmenter_gives_the_features_by_which_it_labels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)
    found = load_embedding("churchyard", device="cpu").patches(images)
    network = load_network(WEIGHTS).eval()
    with torch.inference_mode():
        expected = network.features(torch.from_numpy(images).float() / 127.5 - 1.0)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_fine_maps_are_averaged_and_bad_ones_refused() -> None:
    """64 × 64 places become 32 × 32 means of four."""

    def features(images: torch.Tensor) -> torch.Tensor:
        return images.float() if images.min() > 0 else images.float() / 0.0

    embedding = NetworkEmbedding(features, resolution=64, provenance={}, device="cpu")
    images = np.random.default_rng(0).integers(1, 256, (2, 3, 64, 64), np.uint8)
    means = images.reshape(2, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(embedding.patches(images), np.moveaxis(means, 1, -1), rtol=1e-5)
    with pytest.raises(SegmenterError, match="finite"):
        embedding.patches(np.zeros_like(images))


def test_a_segmenter_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SegmenterError, match="dinov2"):
        load_embedding(f"maps:{maps(tmp_path)}", device="cpu")


def maps(folder: Path) -> Path:
    """Label maps, which have no features."""
    from PIL import Image

    Image.new("L", (8, 8)).save(folder / "a.png")
    (folder / "classes.txt").write_text("none\n")
    return folder


def test_a_vision_transformer_gives_its_patches_without_the_class_token(
    tmp_path: Path, images: np.ndarray
) -> None:
    """As the model itself gives them: a token a patch of 14 pixels behind the class token."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    model = Dinov2Model(config).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(PROCESSOR % "BitImageProcessor")
    embedding = load_embedding(f"hf:{tmp_path}", device="cpu")
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).float() / 255.0 - 0.5) / 0.5
        states = model(pixel_values=pixels).last_hidden_state
    assert embedding.resolution == 28
    np.testing.assert_allclose(
        embedding.patches(images).reshape(3, 4, 16), states[:, 1:], rtol=1e-3, atol=1e-4
    )


def test_a_text_tower_says_how_like_words_are(tmp_path: Path, images: np.ndarray) -> None:
    """Cosines of the projected towers, as the model computes them from the same words."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(tmp_path)
    text = clip_config(tokenizer).to_dict()
    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision.to_dict(), projection_dim=8)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(PROCESSOR % "CLIPImageProcessor")
    embedding = load_embedding(f"hf:{tmp_path}", device="cpu")
    assert embedding.patches(images).shape == (3, 2, 2, 8)
    words = ["balloon", "tree"]
    found = embedding.likeness(list(np.moveaxis(images, 1, -1)), words)  # type: ignore[attr-defined]
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).float() / 255.0 - 0.5) / 0.5
        tokens = tokenizer(
            [f"a photo of a {word}" for word in words],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        scores = model(pixel_values=pixels, **tokens)
        expected = scores.logits_per_image / model.logit_scale.exp()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
