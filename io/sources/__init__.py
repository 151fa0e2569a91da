"""API clients: how a source is asked whether it changed, and how its raw pages are read."""
