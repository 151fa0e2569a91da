"""The contract of each table: one file per source, and `marts.py`. `model` has the base classes, the checks and what is derived."""
