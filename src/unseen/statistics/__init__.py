"""Statistics of class areas. NumPy and SciPy alone."""
