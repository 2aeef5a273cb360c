"""Pipelines of diffusers, tiny and with random weights."""

import json
import string
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
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
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
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
    tokens = [
        *string.ascii_lowercase,
        *[f"{letter}</w>" for letter in string.ascii_lowercase],
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


def t5(width: int) -> tuple[T5Tokenizer, T5EncoderModel]:
    """A token a letter, and a text encoder of this width."""
    special = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    letters = [(letter, -2.0) for letter in ("▁", *string.ascii_lowercase)]
    tokenizer = T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=32)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    return tokenizer, T5EncoderModel(config)


def gemma(width: int) -> tuple[GemmaTokenizer, Gemma2Model]:
    """A token a letter, and a text encoder of this width."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = {token: k for k, token in enumerate([*special, "▁", *string.ascii_lowercase])}
    config = Gemma2Config(
        vocab_size=len(tokens),
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
    )
    return GemmaTokenizer(vocab=tokens, model_max_length=32), Gemma2Model(config)


def text_unet(text_width: int, **more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=text_width,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **more,
    )


def stable_diffusion(folder: Path) -> StableDiffusionPipeline:
    tokenizer = clip_tokenizer(folder)
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(clip_config(tokenizer)),
        tokenizer=tokenizer,
        unet=text_unet(8),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(folder: Path) -> StableDiffusionXLPipeline:
    tokenizer = clip_tokenizer(folder)
    config = clip_config(tokenizer, projection_dim=8)
    network = text_unet(
        16,  # of both encoders
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 8,  # six sizes, and the pooled text
    )
    return StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(config),
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=network,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        add_watermarker=False,
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


def flux(folder: Path) -> FluxPipeline:
    tokenizer = clip_tokenizer(folder)
    tokenizer_2, encoder_2 = t5(16)
    network = FluxTransformer2DModel(
        in_channels=16,  # four of the latents, of 2 × 2 places
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=8,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(shift_factor=0.1),
        text_encoder=CLIPTextModel(clip_config(tokenizer, projection_dim=8)),
        tokenizer=tokenizer,
        text_encoder_2=encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=network,
    )


def pixart(_: Path) -> PixArtSigmaPipeline:
    tokenizer, encoder = t5(8)
    network = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=8,
        sample_size=8,
        patch_size=2,
        caption_channels=8,
        norm_num_groups=4,
    )
    return PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        vae=autoencoder(),
        transformer=network,
        scheduler=DDIMScheduler(clip_sample=False),
    )


def sana(_: Path) -> SanaPipeline:
    tokenizer, encoder = gemma(8)
    network = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=4,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=8,
    )
    decoder = AutoencoderDC(
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
    )
    return SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        vae=decoder,
        transformer=network,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
