"""Pipelines of diffusers, tiny and with random weights."""

import json
from pathlib import Path

from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)


def unet(size: int, channels: int = 3) -> UNet2DModel:
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
    )


class ExactDenoiser(UNet2DModel):
    """Knows the noise in images of independent numbers of N(0, 0.3²)."""

    DEVIATION = 0.3
    KEPT = DDIMScheduler().alphas_cumprod

    def forward(self, sample: Tensor, timestep: Tensor) -> UNet2DOutput:
        kept = self.KEPT[int(timestep)]
        # E[ε | x] of x = √ā x_0 + √(1−ā) ε
        noise = (1 - kept) ** 0.5 * sample / (kept * self.DEVIATION**2 + 1 - kept)
        return UNet2DOutput(sample=noise)


def exact(size: int) -> DDIMPipeline:
    """A pipeline whose images are independent numbers, and whose noise is known."""
    return DDIMPipeline(ExactDenoiser(**unet(size).config), DDIMScheduler(clip_sample=False))


def autoencoder(**more: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
        **more,
    )


def transformer() -> DiTTransformer2DModel:
    return DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=1000,
        norm_num_groups=4,
    )


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """A token a letter; its files are written into the folder."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [
        *letters,
        *[f"{letter}</w>" for letter in letters],
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    (folder / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def clip_config(tokenizer: CLIPTokenizer, **more: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        **more,
    )


def stable_diffusion(folder: Path) -> StableDiffusionPipeline:
    tokenizer = clip_tokenizer(folder)
    network = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(clip_config(tokenizer)),
        tokenizer=tokenizer,
        unet=network,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_3(folder: Path) -> StableDiffusion3Pipeline:
    tokenizer = clip_tokenizer(folder)
    config = clip_config(tokenizer, projection_dim=8)
    network = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=16,
        pooled_projection_dim=16,
    )
    return StableDiffusion3Pipeline(
        transformer=network,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(shift_factor=0.1),
        text_encoder=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
