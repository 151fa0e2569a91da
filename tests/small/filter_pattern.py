"""The filter patterns of CloudWatch Logs for JSON lines: parsed by their documented grammar, and applied to a line.

From "Filter pattern syntax for metric filters" in the guide of CloudWatch Logs: `{ selector operator value }`, with a selector like
`$.a.b[0]`; `=` and `!=` for strings (in quotes unless of letters, digits and `_`; `*` stands for any text), for regular expressions
between `%`, and for numbers, which also have `<`, `>`, `<=` and `>=`; `IS TRUE`, `IS FALSE`, `IS NULL`; `NOT EXISTS`; `&&` before `||`,
and parentheses. A line that is no JSON, or whose selected value is missing or an object or array, does not match. What the guide
does not say is refused, not guessed.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<selector>\$(?:\.[A-Za-z0-9_-]+|\[\d+\])+)
      | (?P<logic>&&|\|\||[(){}])
      | (?P<compare><=|>=|!=|=|<|>)
      | (?P<words>IS\s+(?:TRUE|FALSE|NULL)\b|NOT\s+EXISTS\b)
      | (?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.*]))
      | (?P<regex>%[^%]+%)
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<bare>[\w*]+)
    )""",
    re.VERBOSE | re.ASCII,
)
# Which characters a regular expression may consist of; parentheses are not among them.
_REGEX = re.compile(r"[A-Za-z0-9 :_#=@/;,\-^$?\[\]{}|\\*+.]+")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_WORDS = {"IS TRUE": True, "IS FALSE": False, "IS NULL": None}
_MISSING = object()
Match = Callable[[Any], bool]


class FilterPatternError(ValueError):
    """The text is no pattern that the documentation describes."""


def matches(pattern: str, line: str) -> bool:
    """Whether a metric filter with this pattern counts this line of a log. Raises FilterPatternError."""
    match = parse(pattern)
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and match(found)


def parse(pattern: str) -> Match:
    """The pattern as a function of a JSON object. Raises FilterPatternError."""
    return _Parser(pattern).pattern()


class _Parser:
    """Recursive descent: pattern := { any }; any := all (|| all)*; all := term (&& term)*; term := ( any ) | condition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens())

    def _tokens(self) -> Any:
        position, text = 0, self.text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise FilterPatternError(f"{self.text}: unexpected {text[position:]!r}")
            yield found.lastgroup, found[found.lastgroup or ""]
            position = found.end()

    def pattern(self) -> Match:
        self.expect("{")
        match = self.any()
        self.expect("}")
        if self.tokens:
            raise FilterPatternError(f"{self.text}: expected the end, found {self.tokens[0][1]!r}")
        return match

    def any(self) -> Match:
        parts = [self.all()]
        while self.take("||"):
            parts.append(self.all())
        return lambda line: any(part(line) for part in parts)

    def all(self) -> Match:
        parts = [self.term()]
        while self.take("&&"):
            parts.append(self.term())
        return lambda line: all(part(line) for part in parts)

    def term(self) -> Match:
        if self.take("("):
            match = self.any()
            self.expect(")")
            return match
        return self.condition()

    def condition(self) -> Match:
        selector = self.next("selector")
        kind, token = self.tokens.pop(0) if self.tokens else ("", "")
        if kind == "words":
            words = " ".join(token.split())
            if words == "NOT EXISTS":
                return lambda line: _select(line, selector) is _MISSING
            wanted = _WORDS[words]
            return lambda line: _select(line, selector) is wanted
        if kind != "compare":
            raise FilterPatternError(f"{self.text}: expected an operator after {selector}, found {token!r}")
        kind, value = self.tokens.pop(0) if self.tokens else ("", "")
        match kind:
            case "number":
                return _compare(selector, token, float(value))
            case "quoted" | "bare" | "regex" if token in ("=", "!="):
                return _text(selector, token, self._expression(kind, value))
            case _:
                raise FilterPatternError(f"{self.text}: expected a value after {selector} {token}, found {value!r}")

    def _expression(self, kind: str, value: str) -> re.Pattern[str]:
        if kind == "regex":
            if not _REGEX.fullmatch(value[1:-1]):
                raise FilterPatternError(f"{self.text}: {value} has characters that are not supported")
            return re.compile(f"(?s:.*)(?:{value[1:-1]})(?s:.*)")
        text = json.loads(value) if kind == "quoted" else value
        return re.compile("(?s:.*)".join(map(re.escape, text.split("*"))))

    def take(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == ("logic", token):
            self.tokens.pop(0)
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise FilterPatternError(f"{self.text}: expected {token!r}, found {self.tokens[:1]}")

    def next(self, kind: str) -> str:
        if not self.tokens or self.tokens[0][0] != kind:
            raise FilterPatternError(f"{self.text}: expected a {kind}, found {self.tokens[:1]}")
        return str(self.tokens.pop(0)[1])


def _select(line: Any, selector: str) -> Any:
    """The value that a selector points to; _MISSING if there is none."""
    for name, index in re.findall(r"\.([\w-]+)|\[(\d+)\]", selector):
        if name and isinstance(line, dict) and name in line:
            line = line[name]
        elif index and isinstance(line, list) and int(index) < len(line):
            line = line[int(index)]
        else:
            return _MISSING
    return line


def _compare(selector: str, token: str, number: float) -> Match:
    def match(line: Any) -> bool:
        found = _select(line, selector)
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        _refuse_unequal(selector, token, is_known=is_number)
        return is_number and _COMPARISONS[token](found, number)

    return match


def _text(selector: str, token: str, expression: re.Pattern[str]) -> Match:
    def match(line: Any) -> bool:
        found = _select(line, selector)
        _refuse_unequal(selector, token, is_known=isinstance(found, str))
        return isinstance(found, str) and bool(expression.fullmatch(found)) == (token == "=")

    return match


def _refuse_unequal(selector: str, token: str, *, is_known: bool) -> None:
    """`!=` of a value that is missing or of another type is not documented: no pattern of ours may depend on it."""
    if token == "!=" and not is_known:
        raise FilterPatternError(f"{selector} != …: not documented for a line without such a value")
