"""The built-in world: a procedural churchyard with exact labels."""
