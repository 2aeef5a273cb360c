"""A second face parser, of another architecture than the first, trained on the same labelled faces.

The first (`faces/parser-15` of the real inputs) is a U-Net trained from nothing. This one looks
through a MobileNetV2 that learnt ADE20K's scenes and stays as it is; a small decoder learns the
faces. The two share their labels, and neither architecture, nor features, nor resolution.

The weights are private to the folder of real inputs: they learnt from its faces and are never
committed. Source of the network: Sandler et al., CVPR 2018; of its first weights: the ONNX file of
`ade20k-32` (DeepLabV3, mlcommons/mobile_models, Apache-2.0).
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from PIL import Image
from torch import nn
from torch.nn import functional

from lab.churchyard_segmenter import blur, intersection_over_union, one_cycle, recolour_matrices
from unseen.core.files import sha256_of_file, write_aside, write_text
from unseen.core.options import SEED_MOST, Device, Option
from unseen.inversion.network_learner import Arithmetic, NetworkLearner
from unseen.inversion.training_loop import Learner, Training, TrainingProgress, train
from unseen.segmenters.protocol import Segmenter

CLASS_NAMES = (
    "background",
    "skin",
    "nose",
    "eyeglasses",
    "eye",
    "eyebrow",
    "ear",
    "mouth",
    "lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)
MERGED = np.array([0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 8, 8, 9, 10, 11, 12, 13, 14], np.uint8)
"""From CelebAMask-HQ's 19 classes to these 15: left and right are one, and so are the lips."""

STORED = 256  # pixels a side of the faces in memory; an altered view is sampled from them
SIDE = 192  # pixels a side of what the network sees

# Channels, stride and dilation of MobileNetV2's blocks as ade20k-32 has them: output stride 16.
_BLOCKS = (
    (16, 1, 1),
    *((24, 2, 1), (24, 1, 1)),
    *((32, 2, 1), (32, 1, 1), (32, 1, 1)),
    *((64, 2, 1), (64, 1, 1), (64, 1, 1), (64, 1, 1)),
    *((96, 1, 1), (96, 1, 1), (96, 1, 1)),
    *((160, 1, 1), (160, 1, 2), (160, 1, 2), (320, 1, 2)),
)
_STEM = 32  # channels before the first block
_TAPS = (2, 5, 16)  # the last blocks at strides 4, 8 and 16
_WIDTHS = (32, 48, 64)  # of the decoder at these strides


class FoldedConvolution(nn.Conv2d):
    """A convolution with its batch norm folded in, padded as TensorFlow's SAME pads even images."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, side, stride, dilation=dilation, groups=groups)
        reach = dilation * (side - 1) // 2
        self._pads = (0, 1, 0, 1) if stride == 2 else (reach,) * 4

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve."""
        return super().forward(functional.pad(features, self._pads))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel, narrow; added to its input where it fits."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, dilation: int, widen: int
    ) -> None:
        super().__init__()
        hidden = widen * inputs
        self.expand = FoldedConvolution(inputs, hidden) if widen > 1 else None
        self.depthwise = FoldedConvolution(
            hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden
        )
        self.project = FoldedConvolution(hidden, outputs)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the next block."""
        hidden = features if self.expand is None else functional.relu6(self.expand(features))
        narrow: torch.Tensor = self.project(functional.relu6(self.depthwise(hidden)))
        return features + narrow if self.adds else narrow


class MobileNetV2(nn.Module):
    """The part that has seen scenes and learns nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = FoldedConvolution(3, _STEM, 3, stride=2)
        widths = [_STEM, *(channels for channels, _, _ in _BLOCKS)]
        self.blocks = nn.ModuleList(
            InvertedResidual(
                widths[index], channels, stride=stride, dilation=dilation, widen=6 if index else 1
            )
            for index, (channels, stride, dilation) in enumerate(_BLOCKS)
        )

    def forward(self, images: Float[torch.Tensor, "n 3 h w"]) -> list[torch.Tensor]:
        """Features at strides 4, 8 and 16 (n c h2 w2); images in [−1, 1]."""
        features = functional.relu6(self.stem(images))
        taps = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in _TAPS:
                taps.append(features)
        return taps


class Decoder(nn.Module):
    """Adds the scales from coarse to fine; the coarsest also knows the mean of the image."""

    def __init__(self) -> None:
        super().__init__()
        tapped = [_BLOCKS[tap][0] for tap in _TAPS]
        self.whole = nn.Conv2d(tapped[-1], _WIDTHS[-1], 1)
        self.lateral = nn.ModuleList(
            nn.Conv2d(inputs, width, 1) for inputs, width in zip(tapped, _WIDTHS, strict=True)
        )
        coarser = (*_WIDTHS[1:], 0)
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width + above),
                nn.Conv2d(width + above, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for width, above in zip(_WIDTHS, coarser, strict=True)
        )
        self.head = nn.Conv2d(_WIDTHS[0], len(CLASS_NAMES), 1)

    def forward(self, taps: list[torch.Tensor]) -> Float[torch.Tensor, "n 15 h2 w2"]:
        """Logits at a quarter of the images' resolution."""
        mean = taps[-1].mean((2, 3), keepdim=True)
        mixed = self.mix[-1](self.lateral[-1](taps[-1]) + self.whole(mean))
        for scale in (1, 0):
            mixed = functional.interpolate(mixed, taps[scale].shape[2:], mode="bilinear")
            mixed = self.mix[scale](torch.cat([mixed, self.lateral[scale](taps[scale])], 1))
        logits: torch.Tensor = self.head(mixed)
        return logits


class FaceParser(nn.Module):
    """Both parts."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        self.decoder = Decoder()

    def forward(self, images: Float[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n 15 h w"]:
        """Logits; images of SIDE in [−1, 1]."""
        logits = self.decoder(self.backbone(images))
        return functional.interpolate(logits, images.shape[2:], mode="bilinear")


def read_mobilenet(path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of MobileNetV2's convolutions by name, from ade20k-32's quantised ONNX."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    values = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}

    def dequantised(node: Any) -> np.ndarray:
        quantised, scale, zero = (values[name] for name in node.input)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        shape = [1] * quantised.ndim
        if scale.size > 1:
            shape[axis] = -1
        steps = quantised.astype(np.float32) - zero.astype(np.float32).reshape(shape)
        return np.asarray(steps * scale.reshape(shape), np.float32)

    constants = {
        node.output[0]: dequantised(node)
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values
    }
    layers = {}
    for node in graph.node:
        parts = node.output[0].split("/")
        if node.op_type == "Conv" and parts[0] == "MobilenetV2":
            weight, bias = (torch.from_numpy(constants[name]) for name in node.input[1:])
            layers["/".join(parts[1:-1])] = weight, bias
    return layers


def trained_mobilenet(path: Path) -> MobileNetV2:
    """MobileNetV2 with the weights of ade20k-32."""
    network = MobileNetV2()
    with torch.no_grad():
        for name, (weight, bias) in read_mobilenet(path).items():
            block, _, part = name.rpartition("/")
            index = int(block.removeprefix("expanded_conv_")) if "_conv_" in block else 0
            layer: Any = getattr(network.blocks[index], part) if block else network.stem
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return network.requires_grad_(False).eval()


# --- faces --------------------------------------------------------------------------------------


def read_faces(
    archive: Path, part: str, *, most: int | None = None
) -> tuple[UInt8[torch.Tensor, "n 3 h w"], UInt8[torch.Tensor, "n h w"]]:
    """Photographs and label maps of 15 classes of `labelled.zip`.

    Args:
        archive: the archive.
        part: "train" or "val".
        most: faces to read at most, in the order of their names.
    """
    pictures, label_maps = [], []
    with zipfile.ZipFile(archive) as files:
        names = sorted(n for n in files.namelist() if n.startswith(f"{part}/images/"))[:most]
        for name in names:
            with Image.open(io.BytesIO(files.read(name))) as picture:
                small = picture.convert("RGB").resize((STORED, STORED), Image.Resampling.BILINEAR)
            pictures.append(np.moveaxis(np.asarray(small), -1, 0))
            mask = name.replace("/images/", "/masks/").replace(".jpg", ".png")
            with Image.open(io.BytesIO(files.read(mask))) as labels:
                small = labels.resize((STORED, STORED), Image.Resampling.NEAREST)
            label_maps.append(MERGED[np.asarray(small)])
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(label_maps))


def altered_faces(
    pictures: UInt8[torch.Tensor, "n 3 h w"],
    label_maps: Integer[torch.Tensor, "n h w"],
    generator: torch.Generator,
) -> tuple[Float[torch.Tensor, "n 3 s s"], Integer[torch.Tensor, "n s s"]]:
    """Turn, move, zoom, mirror, recolour, relight and blur; pictures of SIDE in [−1, 1]."""
    n = len(pictures)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        angle, zoom = uniform(-0.3, 0.3), uniform(0.75, 1.25)  # radians; below 1 is nearer
        mirror = torch.where(uniform(0.0, 1.0) < 0.5, 1.0, -1.0)
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        rows = [cos * mirror, -sin, uniform(-0.15, 0.15), sin * mirror, cos, uniform(-0.15, 0.15)]
        theta = torch.stack(rows, 1).reshape(n, 2, 3)
        grid = functional.affine_grid(theta, [n, 3, SIDE, SIDE], align_corners=False)
        images = functional.grid_sample(
            pictures.float(), grid, padding_mode="reflection", align_corners=False
        )
        labels = functional.grid_sample(
            label_maps[:, None].float(),
            grid,
            mode="nearest",
            padding_mode="reflection",
            align_corners=False,
        )
        images = torch.einsum("nij,njhw->nihw", recolour_matrices(n, 0.3, generator), images)
        contrast, offset = uniform(0.7, 1.3), uniform(-30.0, 30.0)
        images = (images - 128) * contrast[:, None, None, None] + 128 + offset[:, None, None, None]
        soft = (uniform(0.0, 1.0) < 0.4)[:, None, None, None]
        images = torch.where(soft, blur(images, uniform(0.3, 1.5)), images)
        return images.clamp(0, 255) / 127.5 - 1, labels[:, 0].to(torch.uint8)


# --- training -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParserStage:
    """Cross-entropy over pixels, rare classes weighted up, on altered views of the faces."""

    faces: Annotated[Path, Option("The file `labelled.zip` of the real inputs.")]
    backbone: Annotated[Path, Option("The file `model.onnx` of the real inputs' ade20k-32.")]
    most: Annotated[
        int | None, Option("Labelled faces to learn from and to measure on. Default: all.", min=1)
    ] = None
    views: Annotated[int, Option("Altered views of each face.", min=1)] = 2
    steps: Annotated[int, Option("Batches of the training.", min=1)] = 1000
    batch_size: Annotated[int, Option("Faces in a batch.", min=1)] = 16
    learning_rate: Annotated[
        float, Option("Highest learning rate of AdamW in one cycle.", max=1)
    ] = 3e-3
    weight_decay: float = 0.02
    average_decay: float = 0.99
    largest_weight: float = 3.0  # of a rare class in the loss, in the median class's

    @property
    def name(self) -> str:
        """The stage's name."""
        return "parser"

    def identity(self) -> Mapping[str, Any]:
        """Settings, faces, first weights and sizes."""
        return {
            **dataclasses.asdict(self),
            "faces": sha256_of_file(self.faces),
            "backbone": sha256_of_file(self.backbone),
            "side": SIDE,
            "widths": list(_WIDTHS),
        }

    def begin(self, device: torch.device, earlier: Mapping[str, Learner]) -> NetworkLearner:  # noqa: ARG002
        """A fresh decoder and its AdamW; the backbone looks at every view once."""
        pictures, label_maps = read_faces(self.faces, "train", most=self.most)
        arithmetic = Arithmetic(channels_last=True)
        taps, truths = self.seen(pictures, label_maps, arithmetic, device)
        network = arithmetic.place(Decoder(), device)
        weights = class_weights(label_maps, self.largest_weight).to(device)

        def losses(
            network: nn.Module,
            index: int,  # noqa: ARG001
            generator: torch.Generator,
        ) -> dict[str, torch.Tensor]:
            chosen = torch.randint(len(truths), (self.batch_size,), generator=generator)
            logits = network([arithmetic.images(tap[chosen].float(), device) for tap in taps])
            logits = functional.interpolate(logits, truths.shape[1:], mode="bilinear")
            truth = truths[chosen].to(device).long()
            return {"loss": functional.cross_entropy(logits, truth, weights)}

        return NetworkLearner(
            network,
            torch.optim.AdamW(
                network.parameters(), self.learning_rate, weight_decay=self.weight_decay
            ),
            losses,
            device=device,
            arithmetic=arithmetic,
            learning_rate=self.rate,
            average_decay=self.average_decay,
            clip_norm=2.0,
        )

    def seen(
        self,
        pictures: UInt8[torch.Tensor, "n 3 h w"],
        label_maps: Integer[torch.Tensor, "n h w"],
        arithmetic: Arithmetic,
        device: torch.device,
    ) -> tuple[list[torch.Tensor], UInt8[torch.Tensor, "m h2 w2"]]:
        """The backbone's features of every view, and the views' label maps at half of SIDE."""
        backbone = arithmetic.place(trained_mobilenet(self.backbone), device)
        generator = torch.Generator().manual_seed(0)
        features, truths = [], []
        for _ in range(self.views):
            for start in range(0, len(pictures), self.batch_size):
                part = slice(start, start + self.batch_size)
                images, truth = altered_faces(pictures[part], label_maps[part], generator)
                with torch.no_grad(), arithmetic.autocast(device):
                    taps = backbone(arithmetic.images(images, device))
                features.append([tap.to(torch.bfloat16).cpu() for tap in taps])
                truths.append(truth[:, ::2, ::2])
        return [torch.cat(scale) for scale in zip(*features, strict=True)], torch.cat(truths)

    def rate(self, index: int) -> float:
        """The learning rate of step `index`, from 0."""
        return one_cycle(self.learning_rate, self.steps, index)


def class_weights(
    label_maps: Integer[torch.Tensor, "n h w"], largest: float
) -> Float[torch.Tensor, " k"]:
    """Square root of the inverse share of pixels, from 0.5 to `largest` times the median's."""
    counts = torch.bincount(label_maps.reshape(-1).long(), minlength=len(CLASS_NAMES)) + 1.0
    return (counts.median() / counts).sqrt().clamp(0.5, largest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParserTraining:
    """Train the second face parser and measure it on the faces that were held out."""

    folder: Annotated[
        Path, Option("Folder of the training. A run goes on there.", name="--out", short="-o")
    ]
    stage: ParserStage
    seed: Annotated[int, Option("Seed of the first weights and of the batches.", max=SEED_MOST)] = 1
    device: Device = "cpu"
    checkpoint_every: int = 100


def train_parser(
    task: ParserTraining, *, progress: Callable[[TrainingProgress], None] | None = None
) -> Path:
    """Train, or go on training, then write `parser.safetensors` and `quality.json` in the folder.

    Returns:
        The weights' path.

    Raises:
        CheckpointError, TrainingError, StorageError: see `unseen.inversion.training_loop.train`.
    """
    from safetensors.torch import save

    learners = train(
        Training(
            stages=[task.stage],
            folder=task.folder,
            seed=task.seed,
            device=task.device,
            checkpoint_every=task.checkpoint_every,
        ),
        progress=progress,
    )
    learner = learners[task.stage.name]
    assert isinstance(learner, NetworkLearner)
    network = FaceParser()
    network.backbone = trained_mobilenet(task.stage.backbone)
    network.decoder.load_state_dict(learner.result.state_dict())
    _, label_maps = read_faces(task.stage.faces, "train", most=task.stage.most)
    assert network.decoder.head.bias is not None
    with torch.no_grad():
        # The loss's weights are factors of the posterior; their logarithms are taken out again.
        network.decoder.head.bias -= class_weights(label_maps, task.stage.largest_weight).log()
    out = task.folder / "parser.safetensors"
    with write_aside(out) as aside:
        aside.write_bytes(save({k: v.contiguous() for k, v in network.state_dict().items()}))
    quality = measured(
        load(weights=str(out)), *read_faces(task.stage.faces, "val", most=task.stage.most)
    )
    write_text(task.folder / "quality.json", json.dumps(quality, indent=1) + "\n")
    return out


# --- as a segmenter, and measured ---------------------------------------------------------------


class FaceParserSegmenter:
    """The trained network. One channel, "object"."""

    def __init__(self, network: FaceParser, provenance: Mapping[str, Any]) -> None:
        self.channels: Mapping[str, tuple[str, ...]] = {"object": CLASS_NAMES}
        self.provenance = provenance
        self.resolution = SIDE
        self._network = network.eval()

    def label_maps(
        self,
        images: UInt8[np.ndarray, "n 3 h w"],
        channel: str = "object",  # noqa: ARG002
    ) -> Integer[np.ndarray, "n h2 w2"]:
        """Labels of SIDE × SIDE pixels."""
        inputs = torch.from_numpy(images).float()
        size = (SIDE, SIDE)
        inputs = functional.interpolate(inputs, size, mode="bilinear", antialias=True)
        with torch.inference_mode():
            return np.asarray(self._network(inputs / 127.5 - 1).argmax(1).numpy())


def load(*, weights: str) -> FaceParserSegmenter:
    """The factory of `python:lab.face_parser:load?weights=PATH`."""
    from safetensors.torch import load_file

    network = FaceParser()
    network.load_state_dict(load_file(weights))
    sums = {Path(weights).name: sha256_of_file(Path(weights))}
    return FaceParserSegmenter(network, {"family": "face-parser", "weights": sums})


def measured(
    segmenter: Segmenter,
    pictures: UInt8[torch.Tensor, "n 3 h w"],
    label_maps: UInt8[torch.Tensor, "n h w"],
    *,
    threshold: float = 0.005,
) -> dict[str, Any]:
    """How well a segmenter of CLASS_NAMES parses faces that it did not learn from.

    Returns:
        Pixel accuracy and mean IoU; by class IoU, and of its presence at `threshold` (a fraction of
        the image): how many faces hold it, sensitivity, false alarms. None where no face decides.
    """
    classes = len(CLASS_NAMES)
    confusion = np.zeros((classes, classes))
    present = np.zeros((2, len(pictures), classes), bool)  # true, found
    for index, (picture, truth) in enumerate(
        zip(pictures.numpy(), label_maps.numpy(), strict=True)
    ):
        found = np.asarray(segmenter.label_maps(picture[None]))[0]
        resized = Image.fromarray(found.astype(np.uint8)).resize((STORED, STORED), 0)
        pairs = truth.astype(np.intp) * classes + np.asarray(resized)
        table = np.bincount(pairs.reshape(-1), minlength=classes**2).reshape(classes, classes)
        confusion += table
        least = threshold * truth.size
        present[:, index] = table.sum(1) >= least, table.sum(0) >= least
    scores = intersection_over_union(confusion)
    by_class = {}
    for k, name in enumerate(CLASS_NAMES):
        true, found = present[0, :, k], present[1, :, k]
        by_class[name] = {
            "iou": round(float(scores[k]), 3),
            "faces": int(true.sum()),
            "sensitivity": round(float(found[true].mean()), 3) if true.any() else None,
            "false_alarms": round(float(found[~true].mean()), 3) if not true.all() else None,
        }
    return {
        "accuracy": round(float(np.trace(confusion) / confusion.sum()), 3),
        "mean_iou": round(float(np.nanmean(scores)), 3),
        "classes": by_class,
    }
