"""What the last check of a source found: whether it answers, and whether it is what its landing table declares.

Here: the result as plain data, and where it is kept in the lake: one object for each landing table (`_sources/gdp.json`), and for each
source of it that is not in use (`_sources/population.pmh.json`). Not here: the
check itself (`assets/making/source_check.py`), who sees its result (`ops/status.py`, `catalunya sources check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from catalunya.assets.record.ledger import Time
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake

FOLDER = "_sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDataset:
    """A dataset as the source's metadata describe it. `cells_at_most`: of one answer."""

    id: str
    title: str
    updated_at: Time | None
    rows: int | None
    cells_at_most: int | None
    licence: str
    page_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCheck:
    """One source, compared with the declaration of its landing table. `requests` is how many the check took.

    `bound`: declared field -> its type at the source. `problems` are what keeps it from matching, one line each; `missing` fields that
    are not required and `new` ones that are not declared do not. `standby`: the name of a source that is not in use (`FIRST` for the table's
    first one): its problems are no problems of the table.
    """

    asset: str
    source: str
    at: Time
    answered: bool
    problems: tuple[str, ...] = ()
    datasets: tuple[FoundDataset, ...] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    new: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0
    standby: str = ""

    @property
    def matches(self) -> bool:
        """Whether the source answered, and is what was declared."""
        return not self.problems

    @property
    def text(self) -> str:
        """What is wrong, in one line; empty if nothing is."""
        what = "the source does not match its declaration" if self.answered else "the source was not available"
        return f"{what} on {self.at:%Y-%m-%d}: {'; '.join(self.problems)}" if self.problems else ""


def keep(lake: Lake, check: SourceCheck) -> None:
    """Keep the result in place of the one before. Raises LakeError."""
    lake.put(_path(check.asset, check.standby), msgspec.json.format(msgspec.json.encode(check), indent=1))


def kept(lake: Lake, key: str, standby: str = "") -> SourceCheck | None:
    """The result of the last check of a landing table's source, or of one that is not in use; None if there is none that can be read."""
    try:
        return json_decoder(SourceCheck).decode(lake.find(_path(key, standby)) or b"")
    except BROKEN_JSON:
        return None


def _path(key: str, standby: str) -> str:
    return f"{FOLDER}/{key.partition('.')[2]}{standby and f'.{standby}'}.json"
