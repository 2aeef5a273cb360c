"""The one training loop of the package; what is trained is given to it as values."""
