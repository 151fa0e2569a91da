"""The words of a text, for comparison only: names and labels of a source's metadata, whatever their case and accents.

Not here: whole columns of text (`contracts/model/text.py` folds those).
"""

from __future__ import annotations

import re
import unicodedata


def words(text: str) -> list[str]:
    """The words and numbers of a text, without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[a-z0-9]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
