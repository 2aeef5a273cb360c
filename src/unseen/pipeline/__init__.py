"""What the commands do: segment, compare, demo."""
