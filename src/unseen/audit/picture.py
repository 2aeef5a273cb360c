"""A picture that a person is to label."""

import dataclasses

import numpy as np
from jaxtyping import UInt8


@dataclasses.dataclass(frozen=True, eq=False)
class AuditPicture:
    """A picture, and where it comes from, which the person is not told."""

    side: str  # "real", "generated-1", …
    name: str
    image: UInt8[np.ndarray, "3 h w"]
