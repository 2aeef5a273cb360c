"""Segmenters: images in, one integer class per pixel out."""

from unseen.segmenters.protocol import Precision, Segmenter

__all__ = ["Precision", "Segmenter"]
