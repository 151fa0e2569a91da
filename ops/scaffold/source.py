"""A new source, from its address to the files of its table.

Here: the steps, and what there is to say about the result. Not here: each of them (see the package).
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.io.environment import Settings
from catalunya.io.errors import UsageError
from catalunya.io.project_folder import SAMPLES
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.files import ENDINGS
from catalunya.io.sources.protocols import arguments, changed
from catalunya.ops.mock import samples
from catalunya.ops.scaffold import code, files
from catalunya.ops.scaffold.names import TABLE_LONGEST, class_name, table_name
from catalunya.ops.scaffold.personal import hidden
from catalunya.ops.scaffold.profile import Profile, Proposal, profile
from catalunya.ops.scaffold.sampling import LOOPBACK, Asked, as_written, ask, find_source

_NAMED = re.compile(rf"(?i)\.({'|'.join(ENDINGS)})(?:\.(?:gz|zip))?$")  # a file's title is its name
SCHEDULE = "0 4 * * 1"  # weekly, Monday at four; the asset file is the place to change it
_TAKEN = frozenset(
    {
        *dir(builtins),
        "landing",
        "staging",
        "marts",
        "raw",
        "column",
        "contract",
        "landing_contract",
        "pl",
        "date",
        "datetime",
        "retired",
    }
)


@dataclass(frozen=True, slots=True)
class NewSource:
    """What was written, and from what."""

    name: str
    source: Source[Any]
    profile: Profile
    files: Sequence[str]
    also: Sequence[str] = ()
    """The landing tables that read the same source already."""

    @property
    def to_decide(self) -> list[str]:
        """What only a person can decide, of the table and then of its columns."""
        found = [
            f"{each.field.name}: {note}"
            for each in self.profile.proposals
            for note in each.notes
            if each.column or each.personal
        ]
        also = [f"{key} reads the same source already" for key in self.also]
        if urlsplit(self.source.portal or "").hostname in LOOPBACK:
            also.append(
                f"{self.source.portal} is this machine: put the real address of the source in assets/{self.name}.py and in "
                f"assets/{SAMPLES}/{self.name}/sample.json"
            )
        return [*also, *self.profile.notes, *found]


def new_source(
    address: str, settings: Settings, *, name: str | None = None, key: Sequence[str] = (), kind: str | None = None
) -> NewSource:
    """Write contract, asset and sample of a source. Raises UsageError, ConfigurationError, and what sources raise; then nothing is written."""
    folder = files.root()
    source, settings = find_source(address, settings, kind)
    _check_new(source, name)
    source = as_written(source, settings)
    asked = ask(source, settings)
    name = (
        name
        or table_name(_NAMED.sub("", asked.about.title))
        or re.sub(r"\W+", "_", f"{source.kind}_{asked.about.id}").lower()
    )
    _check_new(source, name)
    found = profile(asked.about, asked.rows, key=key, within=asked.within)
    source = _with_key(source, found)
    written = {
        f"contracts/{name}.py": code.formatted(code.contract_module(name, found)).encode(),
        **_sample(name, source, _without_personal(asked, found)),
        f"assets/{name}.py": code.formatted(code.asset_module(name, found, source, SCHEDULE)).encode(),
    }
    also = [
        key
        for key, each in declarations().items()
        if isinstance(each, LandingDeclaration) and _is_same(each.source, source)
    ]
    return NewSource(name, source, found, files.put(folder, written), also)


def _is_same(known: Source[Any], source: Source[Any]) -> bool:
    """Whether two declarations are of one dataset, whatever their options."""
    return known.kind == source.kind and known.portal == source.portal and arguments(known)[0] == arguments(source)[0]


def _check_new(source: Source[Any], name: str | None) -> None:
    """Raise UsageError if the name cannot be a new table's, or the source is declared already."""
    if name is not None:
        modules = {type(source).__name__, "Contract", "LandingContract", "Landing"}
        is_package = any((files.root() / folder / name).is_dir() for folder in ("assets", "contracts"))
        if keyword.iskeyword(name) or name in _TAKEN or class_name(name) in modules or is_package:
            raise UsageError(f"{name!r} means something else in the code of an asset; give another --name")
        if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{TABLE_LONGEST}}}", name):
            raise UsageError(
                f"expected a name for the table, in snake_case, of at most {TABLE_LONGEST} letters, found {name!r}; give another --name"
            )
        if there := [known for known in declarations() if known.partition(".")[2] == name]:
            raise UsageError(
                f"{there[0]} is declared already, in {declarations()[there[0]].module}; give another --name"
            )


def _with_key(source: Source[Any], found: Profile) -> Source[Any]:
    """The source with its key and period, where its protocol wants them."""
    known = inspect.signature(type(source)).parameters
    options: dict[str, Any] = {}
    if "key" in known and found.key:
        options["key"] = tuple(each.field.name for each in found.proposals if each.key)
    period = next((each.field.name for each in found.proposals if _is_year_text(each)), None)
    if "period" in known and period:
        options["period"] = period
    return changed(source, **options) if options else source


def _is_year_text(each: Proposal) -> bool:
    """Whether the source can be asked for years by this field: it is text at the source, and years are all it holds."""
    return each.period and each.field.kind == "text"


def _without_personal(asked: Asked, found: Profile) -> Asked:
    """The answers to keep, without the values of fields that may be personal: the sample is committed with the code."""
    suspects = [each.field.name for each in found.proposals if each.personal]
    values: set[str] = set()
    within = asked.within
    for name in suspects:
        if name in asked.rows.columns:
            values.update(asked.rows[name].drop_nulls().unique())
        else:
            values.update(*within.get(name, {}).values())
    values -= {each.name for each in asked.about.fields}
    if not suspects:
        return asked

    def without(answers: Sequence[samples.RecordedAnswer]) -> list[samples.RecordedAnswer]:
        return [replace(each, body=hidden(each.body, values, suspects)) for each in answers]

    return replace(asked, metadata=without(asked.metadata), pages=without(asked.pages))


def _sample(name: str, source: Source[Any], asked: Asked) -> dict[str, bytes]:
    """The files of the recorded sample."""
    about, (by_position, by_name) = asked.about, arguments(source)
    described = samples.Described(
        kind=source.kind,
        arguments=by_position,
        options=by_name,
        title=about.title,
        publisher=about.publisher,
        licence=about.licence,
        page_url=about.page_url,
        recorded_at=samples.now(),
        rows=about.rows,
    )
    with tempfile.TemporaryDirectory(prefix="catalunya-") as scratch:
        folder = Path(scratch, name)
        samples.write(folder, described, asked.metadata, asked.pages)
        return {f"assets/{SAMPLES}/{name}/{each.name}": each.read_bytes() for each in sorted(folder.iterdir())}
