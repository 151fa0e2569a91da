"""What a materialization notes about its source without refusing it: text that had to be normalized, and names that no rule knows.

Here: collecting both page by page, and the warnings that follow, for the log, the ledger entry and `catalunya status`. Not here:
normalizing (`contracts/model/text.py`), rows that break the contract (`staging.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Lock

from catalunya.assets.making.maker import Candidate
from catalunya.assets.record.ledger import Entry
from catalunya.contracts.model.check import SHOWN
from catalunya.contracts.model.text import Text
from catalunya.io.log import get_logger
from catalunya.io.safe_text import NAME, safe_text

log = get_logger(__name__)

CLEAN, CHANGED = 0.01, 0.05
"""A field is clean with up to this share of normalized rows, and worth a warning from this share on, if it was clean before."""
REMEMBERED = 1_000
"""How many names that no rule knows are kept in memory, by column."""


@dataclass
class Notes:
    """The notes of one materialization. Several threads may add to them."""

    rows: int = 0
    normalized: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, text: Text, unknown: dict[str, Counter[str]]) -> None:
        """Add what was noted about one page."""
        with self._lock:
            self.rows += text.frame.height
            self.normalized.update(text.changed)
            for column, names in unknown.items():
                known = self.unknown.setdefault(column, Counter())
                known.update({name: rows for name, rows in names.items() if name in known or len(known) < REMEMBERED})

    def on(self, candidate: Candidate, previous: Entry | None, *, is_part: bool = False) -> Candidate:
        """The candidate with the notes and their warnings, each of which is logged.

        `is_part`: only some rows of the source were read (a backfill, a replay), so that what was noted about all of them still holds.
        """
        before = previous.normalized if previous else {}
        normalized = {name: max(before.get(name, 0), self.normalized[name]) for name in {**before, **self.normalized}}
        warnings = [*(self._unlike(previous) if previous else ()), *self._unknown()]
        if not (is_part and previous):
            return replace(candidate, normalized=dict(self.normalized), warnings=tuple(warnings))
        warnings = list(dict.fromkeys([*previous.warnings, *warnings]))
        return replace(candidate, normalized=normalized, warnings=tuple(warnings))

    def _unlike(self, previous: Entry) -> Iterator[str]:
        """Fields that were clean in the previous entry, and are not now."""
        read_before = previous.rows + previous.duplicates + previous.quarantined + previous.discarded
        for name, rows in sorted(self.normalized.items()):
            before = previous.normalized.get(name, 0)
            if before <= CLEAN * read_before and rows >= CHANGED * self.rows:
                log.warning(
                    "text_normalized", field=name, rows=rows, of=self.rows, before=before, before_of=read_before
                )
                yield (
                    f"the text of {name} was normalized in {rows:,} of {self.rows:,} rows, before in {before:,} of {read_before:,}; "
                    "did the source change how it writes text?"
                )

    def _unknown(self) -> Iterator[str]:
        """Names that no rule knows, the most frequent first."""
        for column, names in self.unknown.items():
            frequent = sorted(names, key=lambda name: (-names[name], name))
            shown = [safe_text(name, NAME) for name in frequent[:SHOWN]]
            rows, more = sum(names.values()), len(names) - len(shown)
            log.warning("name_unknown", column=column, names=shown, more=more, rows=rows)
            yield (
                f"no rule of {column} knows {'; '.join(shown)}{f' and {more:,} more' if more else ''} ({rows:,} row{'s' * (rows > 1)}); add them to its rules"
            )
