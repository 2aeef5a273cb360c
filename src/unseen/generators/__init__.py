"""Generators: what one is, and how one is loaded by name."""

from unseen.generators.load import load_generator
from unseen.generators.protocol import Generator, Precision

__all__ = ["Generator", "Precision", "load_generator"]
