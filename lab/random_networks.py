"""Networks of published shapes with random weights, to measure speed without the weights' files.

`python -m lab throughput` times Unified Perceptual Parsing without its files, or a model of
transformers (`--network segformer-b0`, `--network mask2former`);
`unseen bench sampling python:lab.random_networks:progan` times the ProGAN of 256×256, and
`python:lab.random_networks:diffusion` a latent diffusion pipeline of the churchyard's size.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from unseen.bench.throughput import Throughput, measure, prepared_batches, upp_ways
from unseen.core.devices import resolve_device
from unseen.core.errors import SpecError
from unseen.core.options import SEED_MOST, Option
from unseen.generators import Precision
from unseen.generators.diffusers_pipeline import PipelineGenerator
from unseen.generators.layered import NetworkGenerator
from unseen.generators.progan import ProGAN
from unseen.images import open_images, subset
from unseen.segmenters.unified_parsing import Sizes, UnifiedParsing
from unseen.segmenters.upp import (
    Labels,
    UnifiedParsingSegmenter,
    Vocabulary,
    network_input,
    vocabulary_of,
)

PROGAN_WIDTHS = (512, 512, 512, 512, 256, 128, 64, 32)  # latent, 4×4, …: as published at 256×256
_LOGITS_STD = 3.0  # spread of random scores; trained networks' are of this size
_SAMPLE = 8  # images that decide batch norm's statistics


def progan(*, device: str, precision: Precision, seed: str = "1") -> NetworkGenerator:
    """The ProGAN of 256×256, as a generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        network = ProGAN(PROGAN_WIDTHS)
        for parameter in network.parameters():
            nn.init.normal_(parameter)  # N(0, 1), as the network's own scales expect
    return NetworkGenerator(
        network,
        latent_size=PROGAN_WIDTHS[0],
        resolution=network.resolution,
        provenance={"family": "progan", "random_weights": int(seed)},
        device=torch.device(resolve_device(device)),
        precision=precision,
    )


def diffusion(*, device: str, precision: Precision, steps: str = "25") -> PipelineGenerator:
    """A latent diffusion pipeline of 64×64 whose U-Net has the widths of the churchyard's.

    Raises:
        SpecError: bf16, in which diffusers' LDMPipeline does not run.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, LDMPipeline, UNet2DModel

    if precision != "fp32":
        raise SpecError("the pipeline of random weights draws in fp32; add --precisions fp32")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        autoencoder = AutoencoderKL(
            block_out_channels=(16, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=8,
            sample_size=64,
        )
        denoiser = UNet2DModel(
            sample_size=16,  # a quarter of 64
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            block_out_channels=(32, 88, 88),
            layers_per_block=1,
            attention_head_dim=44,
            norm_num_groups=8,
        )
    pipeline = LDMPipeline(
        vqvae=autoencoder, unet=denoiser, scheduler=DDIMScheduler(clip_sample=False)
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(resolve_device(device))
    return PipelineGenerator(
        pipeline=pipeline,
        spec="random diffusion",
        provenance={"family": "diffusers", "random_weights": 1, "arithmetic": "batch size"},
        settings={"num_inference_steps": int(steps)},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomThroughput(Throughput):
    """Time a segmenter with random weights."""

    segmenter: str = "upp"  # that the network stands for
    network: Annotated[
        Literal["upp", "segformer-b0", "mask2former"],
        Option("Network: Unified Perceptual Parsing, or a model of transformers at 512²."),
    ] = "upp"
    seed: Annotated[int, Option("Seed of the random subset and of the weights.", max=SEED_MOST)] = 0


def measure_random(
    task: RandomThroughput, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Run the plain loop and the whole path turn by turn, as `unseen bench throughput` does."""
    if task.network != "upp":
        with tempfile.TemporaryDirectory() as folder:
            write_transformers_model(task.network, Path(folder), task.seed)
            return measure(dataclasses.replace(task, segmenter=f"hf:{folder}"), say)
    source = open_images(task.images)
    indices = subset(source, task.count, task.seed)[:_SAMPLE]
    images = next(prepared_batches(source, indices, UnifiedParsingSegmenter.resolution))
    network, vocabulary = random_upp(images, task.seed)
    provenance = {"spec": task.segmenter, "family": "upp", "random_weights": task.seed}
    return measure(task, say, ways=upp_ways(task, network, vocabulary, provenance))


def write_transformers_model(
    network: Literal["segformer-b0", "mask2former"], folder: Path, seed: int
) -> None:
    """A folder that transformers loads: SegFormer-B0, or Mask2Former on Swin-T, of 150 classes."""
    import transformers

    size = {"height": 512, "width": 512}
    model: Any
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if network == "segformer-b0":
            config = transformers.SegformerConfig(num_labels=150)  # whose defaults are B0
            model = transformers.SegformerForSemanticSegmentation(config)
            processor = transformers.SegformerImageProcessorPil(size=size)
        else:
            swin = transformers.SwinConfig(
                depths=[2, 2, 6, 2],
                num_heads=[3, 6, 12, 24],
                out_features=["stage1", "stage2", "stage3", "stage4"],
            )
            config = transformers.Mask2FormerConfig(backbone_config=swin, num_labels=150)
            model = transformers.Mask2FormerForUniversalSegmentation(config)
            processor = transformers.Mask2FormerImageProcessorPil(size=size)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def random_upp(
    images: UInt8[np.ndarray, "n 3 h w"], seed: int
) -> tuple[UnifiedParsing, Vocabulary]:
    """A network of the published widths with random weights: for speed, its labels mean nothing.

    Batch norm's statistics are those of the given images, residual branches are damped, and the
    classifiers scaled, so that features and scores have the sizes of a trained network's.
    """
    vocabulary = vocabulary_of(
        Labels(
            object=["-", *(f"object {k}" for k in range(1, 336))],
            material=["-", *(f"material {k}" for k in range(1, 26))],
            scene=[f"scene {k}" for k in range(365)],
            part=[],
            # 427 scores, as in the published files, for seven owners
            object_part={f"object {k}": [f"part {j}" for j in range(61)] for k in range(1, 8)},
        )
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UnifiedParsing(Sizes(classes=vocabulary.scores))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of this one batch
            if name.endswith("bn3") and "layer" in name:
                nn.init.constant_(module.weight, 0.25)
    network.train()
    with torch.no_grad():
        inputs = network_input(torch.from_numpy(images)).contiguous()
        for head, scores in network(inputs).items():
            last = 2 if head == "scene" else 1
            classifier = network.decoder.get_submodule(f"{head}_head.{last}")
            assert isinstance(classifier, nn.Conv2d)
            classifier.weight *= _LOGITS_STD / scores.std()
    return network.eval(), vocabulary
