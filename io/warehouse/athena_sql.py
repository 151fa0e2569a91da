"""A person's SQL for Athena: one statement that only reads, with the Glue databases in the place of `staging` and `marts`.

Nothing else of the text is touched, so that what Athena says of it is about what was written. It is taken apart into words,
names, strings and comments, and no further: Athena itself parses it. Here: pure functions. Not here: running it (`athena.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from catalunya.io.errors import UsageError

_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)"""
    r"""|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<sign>.)""",
    re.DOTALL,
)
_READS = ("SELECT", "WITH", "VALUES")
_LOOKS = ("SHOW", "DESCRIBE", "DESC")


class _Token(NamedTuple):
    """A piece of the text. `word` is a name as it is looked up: without quotes, in lower case."""

    kind: str
    text: str
    at: int
    word: str


def for_athena(sql: str, databases: Mapping[str, str], tables: Collection[str]) -> str:
    """The statement as Athena takes it. `databases`: schema -> Glue database; `tables`: those known, as `staging.x`.

    Raises UsageError on anything but one query, or one statement that shows what there is.
    """
    tokens = _tokens(sql)
    ends = [number for number, token in enumerate(tokens) if token.text == ";"]
    if ends:
        if any(token.text != ";" for token in tokens[ends[0] :]):
            raise UsageError("expected one statement, found several; run them one by one")
        sql, tokens = sql[: tokens[ends[0]].at], tokens[: ends[0]]
    _check_reads(tokens)
    shows = tokens[0].text.upper() == "SHOW"
    # A table or a CTE may be called `marts` as well: then only the names of known tables are qualified ones.
    bare = {
        token.word
        for number, token in enumerate(tokens)
        if token.word in databases and _sign(tokens, number + 1) != "." and _sign(tokens, number - 1) != "."
    }
    done, pieces = 0, []
    for number, token in enumerate(tokens):
        if token.word not in databases or _sign(tokens, number - 1) == ".":
            continue
        follows = tokens[number + 2].word if _sign(tokens, number + 1) == "." and number + 2 < len(tokens) else None
        qualifies = f"{token.word}.{follows}" in tables or token.word not in bare
        if qualifies if follows is not None else shows:
            quote = token.text[0] if token.kind == "quoted" else ""
            pieces += [sql[done : token.at], quote, databases[token.word], quote]
            done = token.at + len(token.text)
    return "".join([*pieces, sql[done:]]).strip()


def in_words(message: str, databases: Mapping[str, str]) -> str:
    """What Athena says, with the names that a person wrote."""
    for schema, database in databases.items():
        message = re.sub(rf"(awsdatacatalog\.)?\b{re.escape(database)}\b", schema, message, flags=re.IGNORECASE)
    return message


def _tokens(sql: str) -> list[_Token]:
    """All pieces that mean something, in order. Raises UsageError where a quote or a comment does not end."""
    tokens = []
    for match in _TOKEN.finditer(sql):
        kind, text = str(match.lastgroup), match[0]
        if kind == "sign" and (text in "'\"`" or sql.startswith("/*", match.start())):
            line = sql.count("\n", 0, match.start()) + 1
            what = "a comment" if text == "/" else f"a {text}"
            raise UsageError(f"{what} in line {line} of the SQL does not end; close it")
        if kind != "blank":
            word = text.lower() if kind == "name" else text[1:-1].lower() if kind == "quoted" else ""
            tokens.append(_Token(kind, text, match.start(), word))
    return tokens


def _check_reads(tokens: Sequence[_Token]) -> None:
    """Raise UsageError unless the statement only reads. What the work group's role may do is another matter, and AWS's."""
    words = [token.text.upper() for token in tokens]
    first = _first_word(words)
    if first == "EXPLAIN":
        rest = words[words.index("EXPLAIN") + 1 :]
        while rest[:1] in (["ANALYZE"], ["VERBOSE"]):
            rest = rest[1:]
        if rest[:1] == ["("] and rest[1:2] in (["TYPE"], ["FORMAT"]) and ")" in rest:
            rest = rest[rest.index(")") + 1 :]
        good = _first_word(rest) in _READS  # EXPLAIN ANALYZE runs what it explains
    else:
        good = first in (*_READS, *_LOOKS)
    if not good:
        raise UsageError(
            f"expected one query (select, with, values, show, describe, explain), found {first or 'nothing'}; "
            "the tables can only be read, and Athena has no query that begins with from"
        )


def _first_word(words: Sequence[str]) -> str:
    """The first word that is no opening bracket."""
    return next((word for word in words if word != "("), "")


def _sign(tokens: Sequence[_Token], number: int) -> str:
    return tokens[number].text if 0 <= number < len(tokens) else ""
