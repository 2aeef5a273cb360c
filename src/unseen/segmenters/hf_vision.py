"""`hf:MODEL_OR_FOLDER` as an embedding: the patches of any vision model of transformers.

Patches are those of the last layer, without class and register tokens. A model with a text tower
(CLIP, SigLIP) also says which of some words is nearest to a picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from unseen.core.errors import CheckpointError, SegmenterError
from unseen.core.registry import Spec, takes
from unseen.segmenters.embedding import NetworkEmbedding
from unseen.segmenters.transformers_folder import (
    model_files,
    model_folder,
    quiet_and_offline,
    reading,
)

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_PROMPT = "a photo of a {}"  # the wording that CLIP's authors use


class VisionEmbedding(NetworkEmbedding):
    """A vision model of transformers, with its own preparation of images."""

    def __init__(self, folder: Path, spec: str, *, device: str) -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        with reading(folder), quiet_and_offline():
            files = model_files(folder)
            whole = AutoModel.from_pretrained(folder, dtype=torch.float32, **_LOCAL)
            self._whole = whole.to(device).eval().requires_grad_(False)
            self._vision: Any = getattr(self._whole, "vision_model", self._whole)
            self._processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **_LOCAL)
            self._tokenizer: Any = None
            if self.reads_text:
                self._tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
        if getattr(self._processor, "do_center_crop", False):
            self._processor.do_center_crop = False  # every patch of the picture counts
        config = getattr(self._whole.config, "vision_config", self._whole.config)
        self._patch = getattr(config, "patch_size", None)
        side = getattr(config, "image_size", 224)
        super().__init__(
            self._places,
            resolution=int(side if isinstance(side, int) else min(side)),
            provenance={"spec": spec, "family": f"hf/{config.model_type}", "weights": files},
            device=device,
        )
        self._spec = spec

    @property
    def reads_text(self) -> bool:
        """Whether the model has a text tower."""
        return hasattr(self._whole, "get_text_features")

    def _prepared(self, images: list[np.ndarray]) -> torch.Tensor:
        """Pictures of (h, w, 3) as the model takes them."""
        inputs = self._processor(
            images=images, input_data_format="channels_last", return_tensors="pt"
        )
        prepared: torch.Tensor = inputs["pixel_values"].to(self._whole.device)
        return prepared

    def _places(self, images: torch.Tensor) -> torch.Tensor:
        pixels = self._prepared(list(np.moveaxis(images.cpu().numpy(), 1, -1)))
        states = getattr(self._vision(pixel_values=pixels), "last_hidden_state", None)
        if torch.is_tensor(states) and states.ndim == 4:  # a convolutional model
            return states
        patch = self._patch if isinstance(self._patch, int) else None
        if not torch.is_tensor(states) or states.ndim != 3 or patch is None:
            raise SegmenterError(
                f"{self._spec} gives no features of patches; name a vision transformer or a "
                "convolutional network of transformers"
            )
        height, width = (side // patch for side in pixels.shape[2:])
        # Class and register tokens come first.
        places = states[:, states.shape[1] - height * width :]
        return places.transpose(1, 2).reshape(len(pixels), -1, height, width)

    @torch.inference_mode()
    def likeness(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], words: Sequence[str]
    ) -> Float32[np.ndarray, "n k"]:
        """Cosine of every picture with every word.

        Raises:
            SegmenterError: the model has no text tower.
        """
        if self._tokenizer is None:
            raise SegmenterError(f"{self._spec} has no text tower; name a CLIP model for words")
        prompts = [_PROMPT.format(word) for word in words]
        tokens = self._tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
        towers = (
            self._whole.get_image_features(pixel_values=self._prepared(list(pictures))),
            self._whole.get_text_features(**tokens.to(self._whole.device)),
        )
        of_images, of_words = (
            torch.nn.functional.normalize(_vectors(tower), dim=1) for tower in towers
        )
        cosines: np.ndarray = (of_images @ of_words.T).float().cpu().numpy()
        return cosines


def _vectors(tower: Any) -> torch.Tensor:
    """What a tower gives: a tensor, or an output that holds it."""
    vectors: torch.Tensor = tower if torch.is_tensor(tower) else tower.pooler_output
    return vectors


@takes("revision")
def load_vision(spec: Spec, *, device: str) -> VisionEmbedding:
    """The vision model of a spec. Option `revision`: a branch, tag or commit on the hub.

    Raises:
        MissingExtraError, DownloadError, CheckpointError: as `load_hf`.
    """
    folder = model_folder(spec, spec.require_argument("model_or_folder"))
    if not (folder / "preprocessor_config.json").is_file():
        raise CheckpointError(
            f"{folder / 'preprocessor_config.json'} is missing; it says how the model wants images"
        )
    return VisionEmbedding(folder, spec.place, device=device)
