"""Generators: what one is, and how one is loaded by name."""

from unseen.generators.protocol import (
    Generator,
    LayeredGenerator,
    Precision,
    load_generator,
    load_layered,
)

__all__ = ["Generator", "LayeredGenerator", "Precision", "load_generator", "load_layered"]
