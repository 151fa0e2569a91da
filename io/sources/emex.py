"""EMEX, IDESCAT's "El municipi en xifres" (API emex v1): the latest value of one indicator for all municipalities, as one raw page.

Here: what is specific to this protocol: finding the indicator, what an answer must be, its rows. Not here: HTTP (`http.py`), extraction
(`extraction.py`), IDESCAT's statistical tables (`idescat.py`). An answer is JSON that was XML: a list of one element is the element.
Importing this loads no HTTP client and no polars, because assets are declared with it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from catalunya.io.errors import BadBodyError, ContractError, DeclarationError, MovedError, SourceError, UsageError
from catalunya.io.json_text import json_decoder
from catalunya.io.log import get_logger
from catalunya.io.sources.base import About, FieldInfo, Page, SourceState, check_portal
from catalunya.io.sources.base import said as text_of
from catalunya.io.sources.extraction import PageRequest, Plan, Source
from catalunya.io.sources.jsonstat import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    import polars as pl

    from catalunya.io.periods import Window
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.http import Http, Reply

log = get_logger(__name__)

API = "/emex/v1"
PLACES = "mun"
NOT_PUBLISHED = "_"
FIELDS = {
    "geo": "text",
    "name": "text",
    "indicator": "text",
    "label": "text",
    "unit": "text",
    "reference": "text",
    "updated": "date",
    "value": "number",
}
"""The columns of its rows -> the kind of each."""
_ID = r"f\d+"
_SHOWN = 10  # of the indicators that a message names


@dataclass(frozen=True, slots=True)
class Emex(Source["Question"]):
    """One indicator for all municipalities: `Emex("f271", label="Superfície", unit="km²")`.

    The number of an indicator has changed before. With `label`, it must have that name (in Catalan; case and accents do not count) and
    unit; if it has not, the one indicator that has them is read in its place.
    """

    indicator: str
    label: str = ""
    unit: str = ""
    portal: str | None = None

    kind: ClassVar[str] = "emex"
    pages_are: ClassVar[str] = "an answer of EMEX with one indicator"

    def __post_init__(self) -> None:
        check_portal(self.portal)
        if not re.fullmatch(_ID, str(self.indicator)):
            raise DeclarationError(
                f"expected the number of an EMEX indicator, like 'f271', found {self.indicator!r}; "
                "copy it from the parameter `i` of a request"
            )

    @property
    def has_periods(self) -> bool:
        return False

    @classmethod
    def recognize(cls, address: str) -> Self | None:
        """An address of the API with one indicator: `/emex/v1/dades.json?i=f271&tipus=mun`."""
        url = urlsplit(address)
        path = re.fullmatch(rf"(?P<base>.*){API}/dades\.[a-z]+", url.path)
        wanted = parse_qs(url.query).get("i", [""])
        if url.scheme not in {"http", "https"} or not path or len(wanted) != 1 or not re.fullmatch(_ID, wanted[0]):
            return None
        return cls(wanted[0], portal=f"{url.scheme}://{url.netloc}{path['base']}")

    def describe(self) -> str:
        return f"EMEX {self.indicator}" + (f" ({self.label})" if self.label else "")

    def url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{API}/dades.json?i={self.indicator}&tipus={PLACES}"

    def connect(self, http: HttpSettings) -> AbstractContextManager[Http]:
        from catalunya.io.sources.http import connect

        return connect(http, self.describe())

    def about(self, client: Http) -> Sequence[About]:
        """What the answer says about the indicator, by one request; two more if its number has changed."""
        found = self._find(client)
        about = About(
            id=found.id,
            title=found.label,
            updated_at=found.updated_at,
            fields=tuple(FieldInfo(name, kind) for name, kind in FIELDS.items()),
            page_url=self.url(client.settings.base_url),
            description=f"{found.table}. Unit: {found.unit or 'none'}. Reference: {found.reference}".lstrip(". "),
            publisher=found.source,
            rows=len(found.places),
            key=("geo",),
        )
        return [about]

    def read_state(self, client: Http) -> SourceState:
        """The indicator's state, by one request: it has no metadata without values. Two more if its number has changed."""
        found = self._find(client)
        return SourceState(found.version, found.updated_at, FIELDS, len(found.places))

    def plan(self, client: Http, state: SourceState, window: Window | None) -> Plan[Question]:  # noqa: ARG002
        """One request. The number of the indicator is in the version."""
        if window is not None:
            raise UsageError(f"{self.describe()}: cannot read {window} only: it has the latest value; read it whole")
        number, rows = state.version.partition("-")[0], state.rows or 0
        request = Question("page-00000", f"{API}/dades.json", _params(number), rows, state.version)
        return Plan(state, [request], rows)

    def fetch(self, client: Http, request: Question) -> tuple[Page, Reply]:
        """The answer. Raises MovedError if it is of another state than the plan."""

        def accept(reply: Reply) -> tuple[Page, Reply]:
            found = self._accept(reply)
            if not isinstance(found, Indicator) or found.version != request.version:
                now = found.version if isinstance(found, Indicator) else found
                raise MovedError(f"expected the version {request.version} at {reply.url}, found {now}")
            digest = hashlib.sha256(reply.body).hexdigest()
            return Page(f"{request.page}.json", reply.url, len(found.places), len(reply.body), digest), reply

        return client.get(request.path, accept, request.params)

    def read(self, body: bytes, fields: Sequence[str], searched: int) -> pl.DataFrame:  # noqa: ARG002  names cannot repeat in it
        import polars as pl

        from catalunya.io.sources.pages import with_all

        found = _indicators(json_decoder(_Answer).decode(body))
        if len(found) != 1:
            raise ContractError(f"expected one indicator, found {len(found)}")
        said = found[0]
        places = pl.DataFrame(msgspec.to_builtins(said.places), schema=dict.fromkeys(("id", "content"), pl.String))
        frame = places.rename({"id": "geo", "content": "name"}).with_columns(
            pl.lit(said.id).alias("indicator"),
            pl.lit(said.label).alias("label"),
            pl.lit(said.unit).alias("unit"),
            pl.lit(said.reference).alias("reference"),
            pl.lit(f"{said.updated_at:%Y-%m-%d}").alias("updated"),
            pl.Series("value", said.values, pl.String).str.strip_chars().replace(NOT_PUBLISHED, None),
        )
        return with_all(frame, fields)

    def _find(self, client: Http) -> Indicator:
        """The indicator of the declared number if it has the declared label and unit, else the one that has them. Raises SourceError."""
        path = f"{API}/dades.json"
        found = client.get(path, self._accept, _params(self.indicator))
        if isinstance(found, Indicator):
            return found
        others = self._others(client) if self.label else []
        fitting = sorted({number for number, label, unit in others if self._fits(label, unit)} - {self.indicator})
        moved = client.get(path, self._accept, _params(fitting[0])) if len(fitting) == 1 else None
        if isinstance(moved, Indicator):
            log.warning("indicator_moved", source=self.describe(), found=moved.id, todo="correct its declaration")
            return moved
        listed = [f"{number} {label!r} ({unit or 'no unit'})" for number, label, unit in others if number in fitting]
        raise SourceError(
            f"{self.describe()}: expected the indicator {self.indicator} with the label {self.label!r} and the unit {self.unit!r}, found "
            f"{found}; {'these have both: ' + ', '.join(listed[:_SHOWN]) if listed else 'no other indicator has both'}. Correct the "
            "declaration of the source"
        )

    def _others(self, client: Http) -> list[tuple[str, str, str]]:
        """Number, label and unit of all indicators that can be found: those that `nodes` lists, or that its first municipality has."""
        nodes = client.get(f"{API}/nodes.json", _accept_any, {"tipus": PLACES, "lang": "ca"})
        if found := list(_listed(nodes)):
            return found
        place = next((each["id"] for each in _objects(nodes) if re.fullmatch(r"\d{6}", str(each.get("id")))), None)
        if place is None:
            return []
        return list(_listed(client.get(f"{API}/dades.json", _accept_any, {"id": place, "lang": "ca"})))

    def _accept(self, reply: Reply) -> Indicator | str:
        """The indicator; in words what was found, if the API knows none of the number, or it is another one.

        Raises BadBodyError for an answer that the next one may put right, SourceError for one that it will not."""
        answer, asked = reply.decode(_Answer), parse_qs(urlsplit(reply.url).query).get("i", [])
        error = str(answer.fitxes.error)
        if error.startswith("5"):
            raise BadBodyError(f"error {error} in an answer with status 200")
        if error == "404":
            return "none of this number"
        if error:
            raise SourceError(f"{self.describe()}: {reply.url} answered error {error}; check the declaration")
        try:
            found = _indicators(answer)
        except ContractError as flaw:
            raise BadBodyError(str(flaw), str(flaw)) from None
        if len(found) != 1:
            return "none of this number" if not found else f"{len(found)} indicators"
        is_another = not self.label and found[0].id not in asked  # then only its number says what it is
        if is_another or not self._fits(found[0].label, found[0].unit):
            return f"{found[0].id} {found[0].label!r} ({found[0].unit or 'no unit'})"
        return found[0]

    def _fits(self, label: str, unit: str) -> bool:
        """Whether an indicator has the declared label and unit, where they are declared."""
        return all(
            not wanted or folded(wanted) == folded(had) for wanted, had in ((self.label, label), (self.unit, unit))
        )


@dataclass(frozen=True, slots=True)
class Question(PageRequest):
    """The request for an indicator of this version."""

    version: str


@dataclass(frozen=True, slots=True)
class Indicator:
    """An indicator and its values, which are in the order of the places."""

    id: str
    label: str
    unit: str
    reference: str
    updated_at: datetime
    source: str
    table: str
    places: Sequence[Place]
    values: Sequence[str]

    @property
    def version(self) -> str:
        """Number, date and a hash of everything that may change, the values included: `f271-2025-05-07-1a2b3c4d`."""
        content = (self.label, self.unit, self.reference, [place.id for place in self.places], self.values)
        digest = hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:8]
        return f"{self.id}-{self.updated_at:%Y-%m-%d}-{digest}"


def folded(text: str) -> str:
    """A label or a unit without case, accents and the form of its digits: `Superfície` and `SUPERFICIE`, `km²` and `km2`, are one."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(letter for letter in plain if not unicodedata.combining(letter)).split())


class Place(msgspec.Struct):
    """A column of the answer: a municipality, unless its scheme says something else."""

    id: str
    content: str = ""
    scheme: str = PLACES


class _Columns(msgspec.Struct):
    col: list[Place] | Place = []


class _Indicator(msgspec.Struct):
    """`c` label, `u` unit, `r` reference, `s` source, `t` table, `v` values. The date is in `updated`; one list of the fields calls it `l`."""

    id: str
    c: str | None = None
    u: str | None = None
    r: str | int | None = None
    s: Any = None
    t: Any = None
    v: str | int | float = ""
    updated: str | None = None
    l: Any = None  # noqa: E741  the API's name


class _Indicators(msgspec.Struct):
    i: list[_Indicator] | _Indicator = []


class _Sheets(msgspec.Struct):
    error: str | int = ""
    cols: _Columns | None = None
    indicadors: _Indicators | None = None


class _Answer(msgspec.Struct):
    fitxes: _Sheets


def _params(number: str) -> dict[str, str]:
    return {"i": number, "tipus": PLACES, "lang": "ca"}


def _indicators(answer: _Answer) -> list[Indicator]:
    """The indicators of an answer, with the values of its municipalities. Raises ContractError if it contradicts itself."""
    sheets = answer.fitxes
    columns = sheets.cols.col if sheets.cols else []
    listed = sheets.indicadors.i if sheets.indicadors else []
    places = columns if isinstance(columns, list) else [columns]
    return [_indicator(each, places) for each in (listed if isinstance(listed, list) else [listed])]


def _indicator(said: _Indicator, places: Sequence[Place]) -> Indicator:
    values = str(said.v).split(",")
    if len(values) != len(places):
        raise ContractError(f"expected a value of {said.id} for each of {len(places)} places, found {len(values)}")
    stamp = next((text for text in (said.updated, said.l) if re.match(r"\d{4}-\d\d-\d\d", str(text))), None)
    if stamp is None:
        raise ContractError(
            f"expected the date of the last update of {said.id} in `updated`, found {str(said.updated)[:40]!r}"
        )
    wanted = [(place, value) for place, value in zip(places, values, strict=True) if place.scheme == PLACES]
    if len({place.id for place, _ in wanted}) != len(wanted):
        raise ContractError(f"expected each municipality once in the columns of {said.id}, found one twice")
    return Indicator(
        id=said.id,
        label=said.c or "",
        unit=said.u or "",
        reference="" if said.r is None else str(said.r),
        updated_at=instant(str(stamp)),
        source=text_of(said.s, "content"),
        table=text_of(said.t, "content"),
        places=[place for place, _ in wanted],
        values=[value for _, value in wanted],
    )


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    """All objects of a document, outer ones first."""
    waiting = [document]
    while waiting:
        here = waiting.pop(0)
        if isinstance(here, dict):
            yield here
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here


def _listed(document: Any) -> Iterator[tuple[str, str, str]]:
    """Number, label and unit of the indicators in a document of any layout."""
    for each in _objects(document):
        label = each.get("c") or each.get("content")
        if re.fullmatch(_ID, str(each.get("id"))) and isinstance(label, str):
            yield str(each["id"]), label, str(each.get("u") or "")


def _accept_any(reply: Reply) -> Any:
    return reply.decode(Any)
