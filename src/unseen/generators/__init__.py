"""Generators: latents in, images out."""
