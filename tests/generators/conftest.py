"""Fixtures that write network pickles in NVIDIA's layouts."""

from tests.support.nvidia_pickles import write_network, write_tensorflow

__all__ = ["write_network", "write_tensorflow"]
