"""What each table promises: one file per source, and `marts.py`. `model` has the vocabulary and what is derived from it."""
