"""Watching: what is wrong, since when and why, and what did not happen."""
