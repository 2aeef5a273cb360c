"""The command line: one file a command; each builds a dataclass and calls the library."""

from unseen.cli.main import main

__all__ = ["main"]
