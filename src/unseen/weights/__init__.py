"""Published weights and data: names, hashes, downloads, and safe reading of checkpoints."""
