"""Every error that unseen raises on purpose: one tree, each leaf also a built-in.

A message says what was found, what was needed and what to do next, in one line.
"""


class UnseenError(Exception):
    """Base class: the command line prints its message as one line, without a traceback."""


class SpecError(UnseenError, ValueError):
    """A spec (`name:argument?key=value`) that names nothing known, or is malformed."""


class ImageError(UnseenError, ValueError):
    """An image, or a set of images, that is missing, broken or too small for the question."""


class SegmenterError(UnseenError, ValueError):
    """A segmenter that is unusable, or whose label maps are not integers in range."""


class GeneratorError(UnseenError, ValueError):
    """A generator that is unusable, or whose images are not finite or not of its resolution."""


class CheckpointError(UnseenError, ValueError):
    """A weights file that is unreadable, does not fit, or asks to run code."""


class DownloadError(UnseenError, OSError):
    """Published weights or data that cannot be fetched."""


class RecordError(UnseenError, ValueError):
    """A record (areas, comparison) that is unreadable, or that does not match another."""


class SampleError(UnseenError, ValueError):
    """A sample too small or too degenerate for the statistic asked for."""


class StorageError(UnseenError, OSError):
    """A result that cannot be written; what was finished before it is kept."""


class MissingExtraError(UnseenError, ImportError):
    """An optional dependency that the asked-for feature needs."""


class TrainingError(UnseenError, ArithmeticError):
    """A training whose loss is no longer a number."""
