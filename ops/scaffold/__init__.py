"""New tables from a command: `catalunya new source`, `catalunya new mart`, and `catalunya try`.

`sampling.py` asks a source for its metadata and some rows, `profile.py` proposes columns, types and a key from them (`names.py`,
`personal.py`), `code.py` writes them as Python, `files.py` puts all files in place or none; `mart.py` and `trial.py` are the other two.
Nothing here runs when tables are made. Text of a source goes into Python only as a quoted literal.
"""
