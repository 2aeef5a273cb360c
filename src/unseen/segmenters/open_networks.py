"""Networks that find what words name: CLIPSeg, SAM 3, OWLv2 and Grounding DINO, with SAM 2.

Each embeds the words once and the images of a batch once. CLIPSeg scores pixels; the others find
regions: SAM 3 with masks, the detectors with boxes, which SAM 2 turns into masks. Images are
resized and normalised here, so that torchvision is not needed. Sources: Lüddecke and Ecker, CVPR
2022; Carion et al., 2025 (presence times mask score); Minderer et al., NeurIPS 2023; Liu et al.,
ECCV 2024; Ravi et al., 2024.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everyone reads

from unseen.core.errors import CheckpointError, SegmenterError
from unseen.segmenters.transformers_folder import LOCAL, TOKENIZER, hashes, model_files

_BOX_GRID = 256  # rows and columns of the masks that boxes are drawn on
_SAME_BOX = 0.5  # overlap from which on two boxes of one class are one thing, as in OWLv2's own
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
    """What was found of one class in one image.

    Attributes:
        scores: of each region, 0 to 1, the largest first.
        masks: of each region; they may overlap.
    """

    scores: Float[Tensor, " r"]
    masks: Bool[Tensor, "r h w"]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """How a network's processor makes its input: a square of floats."""

    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    mode: str  # of resizing

    @classmethod
    def of(cls, folder: Path, side: int, default: Mapping[str, tuple[float, ...]]) -> "Inputs":
        """As the folder's settings say; otherwise this side, and these mean and deviation.

        Raises:
            CheckpointError: settings that are none.
        """
        settings: dict[str, Any] = {}
        for name in ("processor_config.json", "preprocessor_config.json"):  # the second decides
            if (folder / name).is_file():
                read = json.loads((folder / name).read_bytes())
                settings |= read.get("image_processor", read)
        size = settings.get("size", side)
        if isinstance(size, dict):
            size = size.get("height", size.get("shortest_edge", side))
        mean, deviation = (tuple(map(float, settings.get(name, default[name]))) for name in default)
        mode = _RESAMPLING.get(settings.get("resample", 2))
        if type(size) is not int or size < 1 or mode is None or len(mean) != 3 or 0 in deviation:
            raise CheckpointError(
                f"{folder / 'preprocessor_config.json'} says size {size!r} and resampling "
                f"{settings.get('resample')!r}; needed are pixels, and 2 (bilinear) or 3 (bicubic)"
            )
        return cls(size, mean, deviation, mode)

    def prepare(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 s s"]:
        """8-bit images as the network takes them."""
        pixels = images.float()
        if pixels.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            pixels = F.interpolate(pixels, size, mode=self.mode, antialias=True)
            pixels = pixels.round().clamp(0, 255)  # as the processors, which resize 8-bit images
        mean, deviation = (
            torch.tensor(values, device=images.device).view(3, 1, 1)
            for values in (self.mean, self.deviation)
        )
        return (pixels / 255 - mean) / deviation


class _Network:
    """What the four have in common: a model, its files and its words."""

    threshold: float  # of scores, where nobody says another: the authors' own
    normalised: Mapping[str, tuple[float, ...]]
    model_class: str  # in transformers
    input_side: int  # where the folder does not say it

    def __init__(self, folder: Path, prompts: Sequence[str], device: torch.device) -> None:
        from transformers import AutoTokenizer

        self.files = model_files(folder) | hashes(folder, TOKENIZER)
        self.device = device
        self.model = load_network(folder, self.model_class, device)
        self.inputs = Inputs.of(folder, self.usual_side(), self.normalised)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        self.embed(prompts)

    def usual_side(self) -> int:
        """The side of the images that the model was made for."""
        return int(getattr(self.model.config.vision_config, "image_size", self.input_side))

    def embed(self, prompts: Sequence[str]) -> None:
        """Take in the words, once."""
        raise NotImplementedError

    def tokens(self, prompts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """Tokens of prompts and which of them are no padding, all of this length."""
        raw = self.tokenizer(list(prompts))["input_ids"]
        for prompt, ids in zip(prompts, raw, strict=True):
            if len(ids) > length:
                raise SegmenterError(
                    f"the prompt {prompt!r:.60} has {len(ids)} tokens, and the network takes "
                    f"{length}; shorten it"
                )
        padded = self.tokenizer(
            list(prompts), padding="max_length", max_length=length, return_tensors="pt"
        )
        return (
            padded["input_ids"].to(self.device),
            padded["attention_mask"].to(self.device),
        )


class ClipSeg(_Network):
    """Scores of pixels. Source: `CLIPSegForImageSegmentation`."""

    threshold, normalised = 0.5, _IMAGENET
    model_class, input_side = "CLIPSegForImageSegmentation", 352

    def embed(self, prompts: Sequence[str]) -> None:
        """The embeddings that condition the decoder (k, d)."""
        ids, mask = self.tokens(prompts, self.model.config.text_config.max_position_embeddings)
        text = self.model.clip.get_text_features(ids, attention_mask=mask)
        self.conditions = text.pooler_output

    def usual_side(self) -> int:
        """CLIPSeg's images are larger than those of the CLIP that it is built on."""
        return self.input_side

    def see(self, images: UInt8[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The activations of the image encoder that the decoder reads."""
        model = self.model
        seen = model.clip.vision_model(
            pixel_values=self.inputs.prepare(images),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        )
        return [seen.hidden_states[layer + 1] for layer in model.extract_layers]

    def pixel_scores(self, seen: Sequence[Tensor]) -> Float[Tensor, "n k h w"]:
        """The score of every class at every pixel, 0 to 1."""
        scores = []
        for condition in self.conditions:  # a class at a time bounds the memory
            conditions = condition.expand(len(seen[0]), -1)
            scores.append(self.model.decoder(list(seen), conditions).logits)
        logits = torch.stack(scores, dim=1).float()
        return logits.reshape(len(seen[0]), len(scores), *logits.shape[-2:]).sigmoid()


class Sam3(_Network):
    """Regions with masks, by presence times mask score. Source: `Sam3Model`."""

    threshold, normalised = 0.5, _HALF
    model_class, input_side = "Sam3Model", 1008

    def embed(self, prompts: Sequence[str]) -> None:
        """The features of every prompt's tokens, and which of them are no padding."""
        length = min(32, self.model.config.text_config.max_position_embeddings)
        self.ids, self.mask = self.tokens(prompts, length)
        text = self.model.get_text_features(input_ids=self.ids, attention_mask=self.mask)
        self.words = text.pooler_output  # (k, length, d)

    def see(self, images: UInt8[Tensor, "n 3 h w"]) -> Any:
        """The pyramid of the image encoder."""
        return self.model.get_vision_features(pixel_values=self.inputs.prepare(images))

    def regions(self, seen: Any, least: Sequence[float]) -> list[list[Regions]]:
        """What scores at least `least` of each class, image by image."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        count = len(seen.fpn_hidden_states[0])
        found: list[list[Regions]] = [[] for _ in range(count)]
        for words, mask, lowest in zip(self.words, self.mask, least, strict=True):
            answer = self.model(
                vision_embeds=seen,
                text_embeds=BaseModelOutputWithPooling(pooler_output=words.expand(count, -1, -1)),
                attention_mask=mask.expand(count, -1),
            )
            scores = answer.pred_logits.float().sigmoid()
            scores = scores * answer.presence_logits.float().sigmoid()  # (n, q)
            for image in range(count):
                kept = _best(scores[image], lowest)
                masks = answer.pred_masks[image][kept] > 0  # the logit of one half
                found[image].append(Regions(scores[image][kept], masks))
        return found


class Sam3LiteText(Sam3):
    """The same with a small text encoder. Source: `Sam3LiteTextModel`."""

    model_class = "Sam3LiteTextModel"


class Detector(_Network):
    """Boxes, turned into masks."""

    fill: "Callable[[UInt8[Tensor, '3 h w'], Tensor], Tensor]"

    def regions(self, seen: Any, least: Sequence[float]) -> list[list[Regions]]:
        """What scores at least `least` of each class, image by image."""
        images, scores, boxes = self.boxes(seen)
        found: list[list[Regions]] = []
        for image, of_image, places in zip(images, scores, boxes, strict=True):
            kept = [
                _distinct(_best(of_class, lowest), places)
                for of_class, lowest in zip(of_image.T, least, strict=True)
            ]
            wanted = torch.cat(kept)
            masks = self.fill(image, places[wanted])
            of_classes = torch.split(masks, [len(rows) for rows in kept])
            found.append(
                [
                    Regions(of_image[rows, k], of_class)
                    for k, (rows, of_class) in enumerate(zip(kept, of_classes, strict=True))
                ]
            )
        return found

    def boxes(self, seen: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Images; scores (n, q, k); boxes (n, q, 4): left, top, right, bottom as shares."""
        raise NotImplementedError


class Owlv2(Detector):
    """Source: `Owlv2ForObjectDetection`; squares need none of its padding."""

    threshold, normalised = 0.1, _CLIP
    model_class, input_side = "Owlv2ForObjectDetection", 960

    def embed(self, prompts: Sequence[str]) -> None:
        """One query a prompt (1, k, d)."""
        ids, mask = self.tokens(prompts, self.model.config.text_config.max_position_embeddings)
        text = self.model.owlv2.get_text_features(input_ids=ids, attention_mask=mask)
        queries = text.pooler_output
        self.queries = queries / queries.norm(dim=-1, keepdim=True)

    def see(self, images: UInt8[Tensor, "n 3 h w"]) -> Any:
        """The images, and a feature for every patch of them."""
        features, _ = self.model.image_embedder(pixel_values=self.inputs.prepare(images))
        return images, features

    def boxes(self, seen: Any) -> tuple[Tensor, Tensor, Tensor]:
        """As `Detector.boxes` says."""
        images, features = seen
        flat = features.flatten(1, 2)
        queries = self.queries.expand(len(images), -1, -1)
        scores = self.model.class_predictor(flat, queries)[0].float().sigmoid()
        return images, scores, _corners(self.model.box_predictor(flat, features).float())


class GroundingDino(Detector):
    """Source: `GroundingDinoForObjectDetection`. It looks at words and images together, so that
    only the words' tokens are kept.
    """

    threshold, normalised = 0.3, _IMAGENET
    model_class, input_side = "GroundingDinoForObjectDetection", 800

    def usual_side(self) -> int:
        """Its images have no fixed size."""
        return self.input_side

    def embed(self, prompts: Sequence[str]) -> None:
        """Sentences "person. car." of as many prompts as one call takes, with their tokens."""
        first, stop = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        most = self.model.config.max_text_len
        (full_stop,) = self.tokenizer(".", add_special_tokens=False)["input_ids"]
        self.sentences: list[tuple[Tensor, list[slice]]] = []
        ids, places = [first], list[slice]()
        for prompt in prompts:
            words = self.tokenizer(prompt.lower(), add_special_tokens=False)["input_ids"]
            if len(words) + 3 > most:
                raise SegmenterError(
                    f"the prompt {prompt!r:.60} has {len(words)} tokens, and the network takes "
                    f"{most - 3}; shorten it"
                )
            if len(ids) + len(words) + 2 > most:
                self._end(ids, places, stop)
                ids, places = [first], []
            places.append(slice(len(ids), len(ids) + len(words)))
            ids += [*words, full_stop]
        self._end(ids, places, stop)

    def _end(self, ids: list[int], places: list[slice], stop: int) -> None:
        self.sentences.append((torch.tensor([[*ids, stop]], device=self.device), places))

    def see(self, images: UInt8[Tensor, "n 3 h w"]) -> Any:
        """The images, and as the network takes them."""
        return images, self.inputs.prepare(images)

    def boxes(self, seen: Any) -> tuple[Tensor, Tensor, Tensor]:
        """As `Detector.boxes` says; the boxes of several sentences one after the other."""
        images, pixels = seen
        scores, boxes = [], []
        classes = sum(len(places) for _, places in self.sentences)
        begun = 0
        for ids, places in self.sentences:
            answer = self.model(
                pixel_values=pixels,
                input_ids=ids.expand(len(images), -1),
                token_type_ids=torch.zeros_like(ids).expand(len(images), -1),
                attention_mask=torch.ones_like(ids).expand(len(images), -1),
            )
            words = answer.logits.float().sigmoid()  # (n, q, tokens)
            of_all = words.new_zeros(*words.shape[:2], classes)
            for k, place in enumerate(places):
                of_all[..., begun + k] = words[..., place].amax(-1)
            begun += len(places)
            scores.append(of_all)
            boxes.append(_corners(answer.pred_boxes.float()))
        return images, torch.cat(scores, dim=1), torch.cat(boxes, dim=1)


class Sam2Fill:
    """Masks of boxes by SAM 2, which embeds an image once. Source: `Sam2Model`."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.files = model_files(folder)
        self._model = load_network(folder, "Sam2Model", device)
        side = int(self._model.config.prompt_encoder_config.image_size)
        self._inputs = dataclasses.replace(Inputs.of(folder, side, _IMAGENET), side=side)

    def __call__(
        self, image: UInt8[Tensor, "3 h w"], boxes: Float[Tensor, "r 4"]
    ) -> Bool[Tensor, "r h2 w2"]:
        """A mask a box."""
        if not len(boxes):
            size = self._model.backbone_feature_sizes[0]  # the finest, which masks have
            return torch.zeros(0, *size, dtype=torch.bool, device=image.device)
        embeddings = self._model.get_image_embeddings(self._inputs.prepare(image[None]))
        answer = self._model(
            image_embeddings=embeddings,
            input_boxes=boxes[None] * self._inputs.side,
            multimask_output=False,
        )
        masks: Tensor = answer.pred_masks[0, :, 0] > 0
        return masks


def fill_boxes(
    image: UInt8[Tensor, "3 h w"], boxes: Float[Tensor, "r 4"]
) -> Bool[Tensor, "r h2 w2"]:
    """The boxes themselves, where no network makes masks of them."""
    middle = (torch.arange(_BOX_GRID, device=image.device) + 0.5) / _BOX_GRID
    left, top, right, bottom = boxes.T[..., None]
    rows, columns = (top <= middle) & (middle < bottom), (left <= middle) & (middle < right)
    masks: Tensor = rows[:, :, None] & columns[:, None, :]
    return masks


def load_network(folder: Path, model_class: str, device: torch.device) -> Any:
    """A model of transformers with all of its weights.

    Raises:
        SegmenterError: the installed transformers has no such model, or the folder holds another.
        CheckpointError: weights are missing.
    """
    import transformers

    kind = getattr(transformers, model_class, None)
    if kind is None:
        raise SegmenterError(
            f"transformers {transformers.__version__} has no {model_class}; upgrade transformers"
        )
    model, report = kind.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **LOCAL
    )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights of {model_class} (first: {missing[0]})"
        )
    return model.to(device).eval().requires_grad_(False)


def _best(scores: Float[Tensor, " q"], least: float) -> Tensor:
    """The regions that score at least so much, best first."""
    order = scores.argsort(descending=True, stable=True)
    return order[scores[order] >= least]


def _distinct(rows: Tensor, boxes: Float[Tensor, "q 4"]) -> Tensor:
    """Of boxes, best first, those that no better one covers nearly (greedy suppression)."""
    kept: list[int] = []
    for row in rows.tolist():
        if all(_overlap(boxes[row], boxes[better]) <= _SAME_BOX for better in kept):
            kept.append(row)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def _overlap(first: Tensor, second: Tensor) -> float:
    """Intersection over union of two boxes."""
    corner = torch.maximum(first[:2], second[:2]), torch.minimum(first[2:], second[2:])
    common = float((corner[1] - corner[0]).clamp(min=0).prod())
    both = float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod())
    return common / max(both - common, 1e-12)


def _corners(boxes: Float[Tensor, "n q 4"]) -> Float[Tensor, "n q 4"]:
    """Left, top, right and bottom of boxes told by middle and size."""
    middle, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([middle - size / 2, middle + size / 2], dim=-1).clamp(0, 1)
