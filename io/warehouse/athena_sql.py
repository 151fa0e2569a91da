"""A person's SQL for Athena: one statement that only reads, with the Glue databases in place of `staging` and `marts`.

Nothing else in the text changes, so that Athena's messages are about what the person wrote. sqlglot splits the text into tokens and
goes no further: Athena itself parses it, and its grammar has statements (show, explain) that sqlglot does not parse.

Here: pure functions. Not here: running the statement (`athena.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from catalunya.io.errors import UsageError

_READS = ("SELECT", "WITH", "VALUES")
_INSPECTS = ("SHOW", "DESCRIBE", "DESC")
_QUOTES = '"`'  # Trino's and Hive's, around names


def for_athena(sql: str, databases: Mapping[str, str], tables: Collection[str]) -> str:
    """The statement as Athena takes it. `databases`: schema -> Glue database; `tables`: those that exist, as `staging.x`.

    Raises UsageError for anything but one query, or one statement that shows or describes tables.
    """
    places = _tokens(sql)
    texts = [sql[start:end] for start, end in places]
    if ";" in texts:
        first = texts.index(";")
        if any(text != ";" for text in texts[first:]):
            raise UsageError("expected one statement, found several; run them one by one")
        sql, places, texts = sql[: places[first][0]], places[:first], texts[:first]
    _check_reads([text.upper() for text in texts])
    is_show = texts[0].upper() == "SHOW"
    names = [(text[1:-1] if text[0] in _QUOTES else text).lower() for text in texts]

    def is_qualified(number: int) -> bool:
        return number > 0 and texts[number - 1] == "."

    def qualifies(number: int) -> bool:
        return number + 2 < len(texts) and texts[number + 1] == "."

    found = [number for number, name in enumerate(names) if name in databases and not is_qualified(number)]
    # A table or a CTE may be called `marts` too: then only the names of known tables count as qualified.
    bare = {names[number] for number in found if not qualifies(number)}
    done, pieces = 0, list[str]()
    for number in found:
        name, (start, end) = names[number], places[number]
        is_schema = is_show
        if qualifies(number):
            is_schema = f"{name}.{names[number + 2]}" in tables or name not in bare
        if is_schema:
            quote = texts[number][0] if texts[number][0] in _QUOTES else ""
            pieces += [sql[done:start], quote, databases[name], quote]
            done = end
    return "".join([*pieces, sql[done:]]).strip()


def with_schemas(message: str, databases: Mapping[str, str]) -> str:
    """A message of Athena's, with the names that the person wrote in place of the Glue databases."""
    for schema, database in databases.items():
        message = re.sub(rf"(awsdatacatalog\.)?\b{re.escape(database)}\b", schema, message, flags=re.IGNORECASE)
    return message


@cache
def _tokenizer() -> Any:
    try:
        from sqlglot import TokenType
        from sqlglot.dialects.trino import Trino
    except ImportError as error:
        raise UsageError(
            f"Athena's SQL needs sqlglot, which is not installed ({error}); install catalunya[dbt]"
        ) from error

    class Tokenizer(Trino.Tokenizer):
        """Trino's words, plus Hive's backquotes. A statement such as `show` is split into words like any other."""

        COMMANDS: ClassVar[set[TokenType]] = set()
        IDENTIFIERS: ClassVar = list(_QUOTES)
        NESTED_COMMENTS = False

    return Tokenizer(dialect=Trino())


def _tokens(sql: str) -> list[tuple[int, int]]:
    """Where each token begins and ends, comments excluded. Raises UsageError when a quote or a comment is not closed."""
    tokenizer = _tokenizer()
    from sqlglot.errors import TokenError

    try:
        return [(token.start, token.end + 1) for token in tokenizer.tokenize(sql)]
    except TokenError as error:
        cause = error.__cause__ or error
        if isinstance(cause, IndexError):  # sqlglot ran past the end of a comment
            raise UsageError("a comment in the SQL is not closed; close it") from error
        if quote := re.search(r"Missing (.+) from (\d+)", str(cause)):
            raise UsageError(f"a {quote[1]} in line {quote[2]} of the SQL is not closed; close it") from error
        raise UsageError(f"the SQL cannot be read: {cause}") from error


def _check_reads(words: Sequence[str]) -> None:
    """Raise UsageError unless the statement only reads. What the work group's role may do is up to AWS."""
    first = _first_word(words)
    if first == "EXPLAIN":
        rest = words[words.index("EXPLAIN") + 1 :]
        while rest[:1] in (["ANALYZE"], ["VERBOSE"]):
            rest = rest[1:]
        if rest[:1] == ["("] and rest[1:2] in (["TYPE"], ["FORMAT"]) and ")" in rest:
            rest = rest[rest.index(")") + 1 :]
        is_read = _first_word(rest) in _READS  # EXPLAIN ANALYZE runs the statement
    else:
        is_read = first in (*_READS, *_INSPECTS)
    if not is_read:
        raise UsageError(
            f"expected one query (select, with, values, show, describe, explain), found {first or 'nothing'}; "
            "the tables can only be read, and Athena has no query that begins with from"
        )


def _first_word(words: Sequence[str]) -> str:
    """The first word that is not an opening bracket."""
    return next((word for word in words if word != "("), "")
