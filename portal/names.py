"""Names of places, as they are said, sorted and searched.

In the data an article stands at the end (`Bisbal d'Empordà, la`), so that lists are in the order that readers expect. Here: the two forms, as
expressions on columns. Not here: which articles there are (`declaration.py`). `static/search.js` folds what a reader types in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl


def said(name: pl.Expr, articles: Sequence[str]) -> pl.Expr:
    """The name with its article in front: `la Bisbal d'Empordà`, `l'Hospitalet de Llobregat`."""
    joined = [article for article in articles if article.endswith(("'", "’"))]
    for among, between in ((joined, ""), ([article for article in articles if article not in joined], " ")):
        if among:
            name = name.str.replace(rf"^(.+), ({'|'.join(map(re.escape, among))})$", f"${{2}}{between}${{1}}")
    return name


def folded(name: pl.Expr) -> pl.Expr:
    """The name without case, accents and punctuation: `hospitalet de llobregat l`. `l·l` is two letters, an apostrophe ends a word."""
    plain = name.str.normalize("NFKD").str.to_lowercase().str.replace_all(r"[\p{M}·]", "")
    return plain.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()
