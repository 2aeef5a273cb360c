"""Measurements of the method itself: calibration, simulation, throughput."""
