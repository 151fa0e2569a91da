"""The protocols: every class of source in this folder, which source an address means, and a source as plain JSON.

Here: finding the classes; a protocol is a module beside this one, and no list names it. Not here: what a protocol does. Importing this
imports no protocol: that happens when one is looked for.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from catalunya.io.errors import DeclarationError, UsageError
from catalunya.io.sources.extraction import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = Path(__file__).parent


@cache
def protocols() -> Mapping[str, type[Source[Any]]]:
    """The class of each protocol by its kind: "socrata", "idescat"."""
    found: dict[str, type[Source[Any]]] = {}
    for each in pkgutil.iter_modules([str(_HERE)]):
        module = importlib.import_module(f"catalunya.io.sources.{each.name}")
        for _, declared in inspect.getmembers(module, inspect.isclass):
            is_here = declared.__module__ == module.__name__
            if is_here and issubclass(declared, Source) and not inspect.isabstract(declared):
                found[declared.kind] = declared
    return found


def recognize(address: str, kind: str | None = None) -> Source[Any]:
    """The source at an address: the page of a dataset, an address of an API, or a bare id. `kind` chooses where several are possible.

    Raises UsageError, with the forms that are known, if it is none, or may be several.
    """
    known = protocols()
    if kind is not None and kind not in known:
        raise UsageError(f"expected a protocol of {', '.join(sorted(known))}, found {kind!r}; correct --kind")
    classes = {kind: known[kind]} if kind else known
    address = address.strip()
    try:
        sources = [source for each in classes.values() if (source := each.recognize(address))]
        if kind and not sources and (named := _of_kind(known[kind], address)):
            sources = [named]
    except DeclarationError as error:
        raise UsageError(f"{address!r}: {error}") from error
    if len(sources) > 1:
        may_be = ", ".join(f"{source.describe()} (--kind {source.kind})" for source in sources)
        raise UsageError(f"{address!r} may be {may_be}; choose one of them with --kind")
    if not sources:
        forms = "; ".join(f"{name}: {_forms(each)}" for name, each in sorted(classes.items()))
        raise UsageError(
            f"expected the address of a dataset, found {address!r}, which is none of a known protocol. {forms}; "
            "a file or JSON-stat at any other URL: --kind file, --kind jsonstat"
        )
    return sources[0]


def arguments(source: Source[Any]) -> tuple[list[Any], dict[str, Any]]:
    """What its class is called with to make an equal one: the arguments by position, and by name those that are not the default."""
    by_position: list[Any] = []
    by_name: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(source)).parameters.items():
        value = getattr(source, name)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            by_position.extend(value)
        elif parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            by_position.append(value)
        elif value != parameter.default:
            by_name[name] = value
    for name in list(by_name):  # some are filled in by the class itself
        others = {each: value for each, value in by_name.items() if each != name}
        with suppress(DeclarationError):
            if type(source)(*by_position, **others) == source:
                by_name = others
    return by_position, by_name


def changed(source: Source[Any], **options: Any) -> Source[Any]:
    """A source with other options: its portal, its key. Not `dataclasses.replace`: not every class is made of its fields by name."""
    by_position, by_name = arguments(source)
    changed: Source[Any] = type(source)(*by_position, **{**by_name, **options})
    return changed


def _of_kind(protocol: type[Source[Any]], address: str) -> Source[Any] | None:
    """A source of a protocol that a person named, at any URL if it takes one: `/download?id=7` shows no format."""
    parameters, url = inspect.signature(protocol).parameters, urlsplit(address)
    if "address" not in parameters or url.scheme not in {"http", "https"} or not url.hostname or "@" in url.netloc:
        return None
    made: Source[Any] = protocol(*[address], **({"format": "csv"} if "format" in parameters else {}))
    return made


def _forms(protocol: type[Source[Any]]) -> str:
    """The addresses that a protocol knows, in the words of its `recognize`."""
    return " ".join((inspect.getdoc(protocol.recognize) or "").split()).rstrip(".")
