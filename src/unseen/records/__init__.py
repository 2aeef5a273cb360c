"""The files that commands exchange, and what they hold in memory."""
