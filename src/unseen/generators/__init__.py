"""Generators: what one is, and how one is loaded by name."""

from unseen.generators.protocol import Generator, Precision, load_generator

__all__ = ["Generator", "Precision", "load_generator"]
