"""How a long run says how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with what is done and of how many; what the first call reports was done before."""


def silent(_: int, __: int) -> None:
    """Report to nobody."""
