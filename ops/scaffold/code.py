"""A proposed table as Python: its contracts and its asset file, as a person would write them.

Here: text, laid out by ruff where it is installed (`make setup` installs it). Whatever comes from a source is a quoted literal, a comment
without line breaks, or a name of letters and digits. Not here: what is proposed (`profile.py`), writing files (`files.py`).
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pandera.polars as pa

from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import active
from catalunya.io.safe_text import legible
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.protocols import arguments
from catalunya.ops.console import counted
from catalunya.ops.scaffold.names import attribute_names, class_name
from catalunya.ops.scaffold.profile import Profile, Proposal

WIDTH = 100
DESCRIPTION, TITLE = 400, 100
"""How much of a source's own texts is quoted, in characters."""
# What a contract has already, and the types that its columns are declared with.
RESERVED = frozenset(
    {
        *dir(Contract),
        *dir(LandingContract),
        *dir(pa.DataFrameModel),
        *("str", "int", "float", "bool", "date", "datetime", "column", "raw"),
    }
)
_PYTHON = {
    "string": "str",
    "bigint": "int",
    "double": "float",
    "boolean": "bool",
    "date": "date",
    "timestamp": "datetime",
}


def contract_module(name: str, profile: Profile) -> str:
    """`contracts/<name>.py`: what the source sends, and what the table promises."""
    raws = attribute_names([each.field.name for each in profile.proposals], RESERVED)
    columns = [each for each in profile.proposals if each.column]
    attributes = attribute_names([each.column for each in columns], RESERVED)
    by_field = dict(zip((each.field.name for each in profile.proposals), raws, strict=True))
    used = {_PYTHON[each.type] for each in columns if each.type}
    dates = ", ".join(sorted(used & {"date", "datetime"}))
    return "\n".join(
        [
            _docstring(f"Contracts of {_title(profile)}{_id(profile)}."),
            "",
            "from __future__ import annotations",
            "",
            *([f"from datetime import {dates}", ""] if dates else []),
            "from catalunya.contracts.model.contract import Contract, LandingContract, column, raw",
            "",
            "",
            f"class Raw{class_name(name)}(LandingContract):",
            _docstring(f"{_title(profile)}, as its publisher sends it.", "    "),
            "",
            *(line for at, each in enumerate(profile.proposals) for line in _raw(each, raws[at])),
            "",
            "",
            f"class {class_name(name)}(Contract{_terms(profile)}):",
            _docstring(_about(profile), "    "),
            "",
            *_columns(columns, attributes, by_field, f"Raw{class_name(name)}"),
            "",
        ]
    )


def asset_module(name: str, profile: Profile, source: Source[Any], schedule: str) -> str:
    """`assets/<name>.py`: where the data comes from, and when."""
    package, declared = active().package, class_name(name)
    kind = type(source)
    rows = f" Weekly, {counted(profile.about.rows, 'row')}." if profile.about.rows is not None else ""
    imports = sorted(
        [
            "from catalunya.assets.graph.spec import Landing, staging",
            f"from {package}.contracts.{name} import {', '.join(_sorted(declared, f'Raw{declared}'))}",
            f"from {kind.__module__} import {kind.__name__}",
        ]
    )
    return "\n".join(
        [
            _docstring(f"{_title(profile)}.{rows}"),
            "",
            "from __future__ import annotations",
            "",
            "import polars as pl",
            "",
            *imports,
            "",
            "landing = Landing(",
            f"    {name!r},",
            f"    source={source_text(source)},",
            f"    contract=Raw{declared},",
            f"    schedule={schedule!r},",
            ")",
            "",
            "",
            f"@staging(landing, contract={declared})",
            f"def {name}(raw: pl.LazyFrame) -> pl.LazyFrame:",
            '    """Nothing to add: names and types are in the contract. Each row of the source is one row here, or none."""',
            "    return raw",
            "",
        ]
    )


def _sorted(*names: str) -> list[str]:
    """Names of one import as ruff sorts them: those in capitals first, then without regard to case."""
    return sorted(names, key=lambda name: (not (len(name) > 1 and name.isupper()), name.lower()))


def source_text(source: Source[Any]) -> str:
    """The call that makes the source."""
    by_position, by_name = arguments(source)
    given = [*map(repr, by_position), *(f"{name}={value!r}" for name, value in by_name.items())]
    return f"{type(source).__name__}({', '.join(given)})"


def formatted(text: str) -> str:
    """The text as `ruff format` lays it out; as it is where ruff is not installed. Raises ConfigurationError if it is no Python."""
    if importlib.util.find_spec("ruff") is None:
        return text
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "format",
            "--isolated",
            "--line-length",
            "120",
            "--stdin-filename",
            "new.py",
            "-",
        ],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ConfigurationError(
            f"the new code is no Python, which is a bug: please report it: {done.stderr.decode(errors='replace')[:500]}"
        )
    return done.stdout.decode()


def _raw(each: Proposal, attribute: str) -> Iterator[str]:
    info = each.field
    if not each.column:
        yield from _comment(each)
    text = info.description or info.label or info.name
    if (
        info.description
        and info.label
        and info.label.lower() not in info.description.lower()
        and len(info.label) < TITLE
    ):
        text = f"{info.label}: {info.description}"
    options = [f"kind={_literal(info.kind)}"] if info.kind else []
    options += ["required=True"] if each.key else []
    options += ["personal=True"] if each.personal else []
    options += [f"alias={_literal(info.name)}"] if attribute != info.name else []
    yield f"    {attribute}: str = raw({', '.join([text_literal(text), *options])})"


def _comment(each: Proposal) -> Iterator[str]:
    """What the sample showed, and what a person has to decide."""
    for note in (*([f"{each.seen}."] if each.seen else []), *(f"To decide: {n}." for n in each.notes)):
        yield from (f"    # {line}" for line in textwrap.wrap(note, WIDTH + 10))


def _columns(
    columns: Sequence[Proposal], attributes: Sequence[str], raws: dict[str, str], raw_class: str
) -> Iterator[str]:
    """The columns, those of the key first."""
    if not columns:
        yield "    # No field can be a column: see the notes above each of them."
    for each, attribute in sorted(zip(columns, attributes, strict=True), key=lambda pair: not pair[0].key):
        assert each.type
        options = [f"source={raw_class}.{raws[each.field.name]}"]
        options += ["key=True"] if each.key else ["nullable=True"] if each.nullable else []
        options += ["period=True"] if each.period else []
        options += [f'str_matches=r"{each.pattern}"'] if each.pattern else []
        options += [
            f"{name}={_bound(each, value)}"
            for name, value in (("ge", each.low), ("le", each.high))
            if value is not None
        ]
        options += ["max_change=1.0"] if each.column == "updated_date" else []
        options += [f"alias={_literal(each.column)}"] if attribute != each.column else []
        yield from _comment(each)
        text = each.field.description or each.field.label or each.field.name
        yield f"    {attribute}: {_PYTHON[each.type]} = column({', '.join([text_literal(text), *options])})"


def _bound(each: Proposal, value: int) -> str:
    return f"{value}.0" if each.type == "double" else str(value)


def _terms(profile: Profile) -> str:
    locale, default = profile.locale, type(profile.locale)()
    terms = {
        "decimal": locale.decimal,
        "thousands": locale.thousands,
        "date": locale.date if locale.date != default.date else None,
    }
    given = [f", {name}={value!r}" for name, value in terms.items() if value]
    return "".join([*([f", tolerate={profile.tolerate}"] if profile.tolerate else []), *given])


def _title(profile: Profile) -> str:
    return _line(profile.about.title or profile.about.id, TITLE).rstrip(".")


def _id(profile: Profile) -> str:
    """The id of the dataset, where its title does not say it."""
    found = _line(profile.about.id, TITLE)
    return "" if found == _title(profile) else f": {found}"


def _about(profile: Profile) -> str:
    """The description of the table: what its publisher says, who that is, and the licence."""
    about = profile.about
    text = _line(about.description, DESCRIPTION).rstrip(".") or _title(profile)
    facts = [f"Publisher: {_line(about.publisher, TITLE)}"] if about.publisher else []
    facts += [f"Licence: {_line(about.licence, TITLE)}"] if about.licence else []
    return ". ".join([text, *(fact.rstrip(".") for fact in facts)]) + "."


def _line(text: str, limit: int = DESCRIPTION) -> str:
    """A text of a source on one line, without what could not be seen or would move the cursor, or what dbt would run; cut at a word."""
    plain = re.sub(r"\{(?=[{%#])", "{ ", re.sub(r"<[^>]{0,200}>", " ", text[: 10 * limit]))
    return textwrap.shorten(
        legible(" ".join(plain.split()), 10 * limit),
        limit,
        placeholder=" …",
    )


def text_literal(text: str) -> str:
    """A description as one literal, or several where it is long. Never empty: a column must have one."""
    lines = textwrap.wrap(_line(text) or "?", WIDTH, break_on_hyphens=False)
    return " ".join([*(_literal(f"{line} ") for line in lines[:-1]), _literal(lines[-1])])


def _literal(text: str) -> str:
    """A string literal in double quotes, as ruff writes it."""
    return repr(text) if "\\" in text or '"' in text else f'"{text}"' if text.isprintable() else repr(text)


def _docstring(text: str, indent: str = "") -> str:
    """A docstring: no text can end it early, nor escape anything."""
    safe = text.replace("\\", "/").replace('"', "'").strip()
    lines = textwrap.wrap(safe, WIDTH + 10)
    if len(lines) == 1:
        return f'{indent}"""{lines[0]}"""'
    more = textwrap.wrap(safe, WIDTH + 10, initial_indent="", subsequent_indent=indent)
    return f'{indent}"""' + "\n".join(more) + f'\n{indent}"""'
