"""IDESCAT's tables API (Taules v2) as the mock answers it: `api.IdescatApi` is the way in.

What is known of the real one is from recordings and its documentation; where it is not known what it does, the docstring
of the module concerned says what was chosen.
"""
