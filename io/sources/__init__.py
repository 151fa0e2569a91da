"""API clients: how to see whether a source changed, and how to read its raw pages."""
