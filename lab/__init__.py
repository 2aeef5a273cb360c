"""What made the documentation's tables and the shipped weights. It is not in the wheel.

`python -m lab` lists the commands.
"""
