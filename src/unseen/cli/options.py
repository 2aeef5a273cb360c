"""What commands do alike with their options."""

from collections.abc import Mapping
from typing import Any


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that were given: None means that one was not."""
    return {name: value for name, value in options.items() if value is not None}
