"""Random streams that depend on (seed, index, what is drawn) and on nothing else.

Each object has its own stream, so leaving one out leaves every other as it was. The arithmetic is
written out here: no library's next version can change a scene, and a stream costs nothing to begin.
Source: Steele, Lea and Flood, OOPSLA 2014 (splitmix64); Knuth's MMIX multiplier.
"""

import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1
_UNIT = 2.0**-53


def mix(state: int, value: int) -> int:
    """One round of splitmix64 over state and value."""
    z = (state + (value + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def mix_text(state: int, text: str) -> int:
    """Mix a name in."""
    return mix(state, zlib.crc32(text.encode()))


class Dice:
    """A stream of random decisions."""

    def __init__(self, state: int) -> None:
        self._state = state

    def _next(self) -> float:
        """A number from 0 to 1, 1 excluded: the upper 53 bits of a 64-bit congruential step."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 11) * _UNIT

    def between(self, low: int | float, high: int | float) -> float:
        """A number from low to high."""
        return low + (high - low) * self._next()

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self._next() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of them, all alike."""
        return options[int(self._next() * len(options))]

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._next() * (high - low + 1))

    def side(self) -> int:
        """-1 or 1."""
        return -1 if self._next() < 0.5 else 1
