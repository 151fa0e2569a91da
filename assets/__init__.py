"""What exists and how each table is made. Asset files (one per source, `marts.py`) are found by being here."""
