"""What was landed is what is read (invariants 3 and 6): a page or a manifest that is damaged is not used, and lands again by itself;
a batch is kept until every row of it is accounted for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.making.maker import Candidate, File
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.making.staging import check_accounted
from catalunya.assets.record.ledger import Stored
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason
from catalunya.assets.record.verify import verify
from catalunya.io.environment import Settings
from catalunya.io.errors import BatchDamaged, ContractError, TransientError
from catalunya.io.periods import window
from small import years
from small.killing import KEYS, heal, heal_elsewhere
from small.lakes import contents, picture, restore
from small.shops import declare, some

LANDING, SHOPS, CITIES = KEYS
ROWS = [*some(3), {"codi": "V1", "ciutat": "Vic"}, {"codi": "M1", "ciutat": "Manresa"}]


class Landed:
    """A project whose source was landed, and not used yet."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.source, declared = declare(folder)
        self.project = Project(settings, declared)
        self.source.write(ROWS)
        entry = materialize(self.project, LANDING).entry
        assert entry
        assert entry.batch
        self.batch = entry.batch

    @property
    def manifest(self) -> str:
        return f"{self.batch}/_manifest.json"

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = f"{self.batch}/{name}"
        self.project.lake.put(path, change(self.project.lake.get(path)))

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the manifest, which stays JSON."""

        def edited(content: bytes) -> bytes:
            manifest = json.loads(content)
            change(manifest)
            return json.dumps(manifest).encode()

        self.change("_manifest.json", edited)

    def plan(self) -> dict[str, Reason]:
        project = self.project
        return {step.key: step.reason for step in plan(project.state(), list(project.graph))}

    def codes(self) -> list[str]:
        entry = self.project.ledger.latest(SHOPS)
        assert entry
        table = scan_table(self.project.lake, self.project.graph[SHOPS], entry)
        return table.collect()["shop_id"].sort().to_list()


@pytest.fixture
def landed(settings: Settings, tmp_path: Path) -> Landed:
    return Landed(settings, tmp_path / "source")


PAGE = "page-00001.json"
OTHER = b'[{"codi": "X9", "ciutat": "Reus"}\n,{"codi": "X8", "ciutat": "Reus"}]\n'


def _swap(manifest: dict[str, Any]) -> None:
    """The first page with the hash of the second: the totals stay right."""
    first, second = manifest["pages"][:2]
    first["sha256"] = second["sha256"]


DAMAGES: dict[str, tuple[Callable[[Landed], object], str]] = {
    "a page cut short": (lambda it: it.change(PAGE, lambda body: body[:-3]), rf"expected \d+ bytes in .*{PAGE}, found \d+;"),
    "an empty page": (lambda it: it.change(PAGE, lambda _: b""), rf"expected \d+ bytes in .*{PAGE}, found 0;"),
    "a page of one row less": (lambda it: it.change(PAGE, lambda _: b'[{"codi":"S2","ciutat":"Reus"}]'), rf"bytes in .*{PAGE}"),
    "one changed byte": (lambda it: it.change(PAGE, lambda body: body.replace(b"Vic", b"Vid")), rf"SHA-256 .* in .*{PAGE}, found"),
    "another page in its place": (lambda it: it.change(PAGE, lambda _: OTHER), rf"in .*{PAGE}, found"),
    "a missing page": (lambda it: it.project.lake.delete([f"{it.batch}/{PAGE}"]), rf"in .*{PAGE}, found no such object"),
    "a manifest cut short": (lambda it: it.change("_manifest.json", lambda body: body[:100]), "expected a manifest in .*_manifest.json"),
    "a manifest of zeros": (lambda it: it.change("_manifest.json", lambda body: bytes(len(body))), "expected a manifest in"),
    "a manifest without a page": (lambda it: it.edit(lambda m: m["pages"].pop()), r"with 5 rows in all in .*, found 4;"),
    "a manifest with other totals": (lambda it: it.edit(lambda m: m.update(bytes=1)), r"with 1 bytes in all in .*, found \d+"),
    "a manifest that is not the ledger's": (lambda it: it.edit(_swap), "expected the pages of ledger entry 1 in .*_manifest.json"),
    "a manifest that names a page twice": (
        lambda it: it.edit(lambda m: m.update(pages=[*m["pages"][:2], m["pages"][0]], bytes=sum(p["bytes"] for p in m["pages"][:2] + m["pages"][:1]), rows=6)),
        "different pages",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_batch_is_named_not_used_and_lands_again(
    landed: Landed, damage: Callable[[Landed], object], message: str
) -> None:
    damage(landed)
    with pytest.raises(BatchDamaged, match=message) as raised:
        materialize(landed.project, SHOPS)
    assert isinstance(raised.value, TransientError)
    assert "\n" not in str(raised.value)
    assert landed.project.ledger.latest(SHOPS) is None
    assert landed.plan()[LANDING] is Reason.CONSUMED
    assert materialize(landed.project, SHOPS).status == "deferred", "it waits for the batch that comes"
    assert landed.project.state().failed(SHOPS) is None, "the damage does not count as a failure on these inputs"
    neglected = landed.project.state().neglected(list(landed.project.graph))
    assert [(stale.key, stale.reason) for stale in neglected] == [(LANDING, Reason.CONSUMED)], (
        "the reconciliation wakes it"
    )

    for key in KEYS:
        assert materialize(landed.project, key).status == "materialized", key
    assert landed.codes() == ["M1", "S0", "S1", "S2", "V1"]
    assert set(landed.plan().values()) == {Reason.SOURCE, Reason.UPSTREAM}, (
        "nothing is left to do but to ask the source"
    )
    assert not landed.project.lake.objects("landing"), "the damaged batch is gone, and so is the one that was used"
    assert [finding.kind for finding in verify(landed.project).findings] == []


def test_a_damaged_batch_that_one_table_has_used_lands_again_for_the_other(landed: Landed) -> None:
    materialize(landed.project, SHOPS)
    landed.change(PAGE, lambda body: body[:-3])
    with pytest.raises(BatchDamaged, match=PAGE):
        materialize(landed.project, CITIES)
    assert landed.plan()[LANDING] is Reason.CONSUMED
    for key in (LANDING, CITIES):
        assert materialize(landed.project, key).status == "materialized"
    assert materialize(landed.project, SHOPS).status == "skipped"


def test_a_damaged_batch_leaves_the_published_table_as_it_was(landed: Landed) -> None:
    for key in KEYS:
        materialize(landed.project, key)
    landed.source.write([*ROWS, {"codi": "V2", "ciutat": "Vic"}])
    materialize(landed.project, LANDING)
    for found in landed.project.lake.objects("landing"):
        if found.path.endswith("page-00000.json"):
            landed.project.lake.put(found.path, b"[]")
    with pytest.raises(BatchDamaged, match=r"page-00000\.json, found 2;"):
        materialize(landed.project, SHOPS)
    assert landed.codes() == ["M1", "S0", "S1", "S2", "V1"]


def test_the_next_extraction_is_not_stopped_by_a_manifest_that_cannot_be_read(landed: Landed) -> None:
    landed.change("_manifest.json", lambda _: b"{")
    landed.project.lake.put("landing/shops/ingested_process_at=20200101T000000000/_manifest.json", b"\xff")
    landed.source.write([*ROWS, {"codi": "V2", "ciutat": "Vic"}])
    for key in KEYS:
        assert materialize(landed.project, key).status == "materialized"
    assert not landed.project.lake.objects("landing")


def test_a_damaged_batch_of_a_backfill_is_replaced_by_the_whole_source(settings: Settings, tmp_path: Path) -> None:
    source, declared = years.declare(tmp_path / "source")
    project = Project(settings, declared)
    source.write({"2014-H1": 10, "2014-H2": 11, "2015-H1": 12})
    for key in ("landing.births", "staging.births"):
        materialize(project, key)
    source.write({"2014-H1": 10, "2014-H2": 21, "2015-H1": 12})
    entry = materialize(project, "landing.births", Request(window=window("2014", "2014"))).entry
    assert entry
    project.lake.put(entry.objects[0].path, b"[]")
    with pytest.raises(BatchDamaged, match="found 2;"):
        materialize(project, "staging.births")
    assert project.state().stale("landing.births").reason is Reason.CONSUMED  # type: ignore[union-attr]
    for key in ("landing.births", "staging.births"):
        assert materialize(project, key).status == "materialized"
    made = project.ledger.latest("staging.births")
    assert made
    table = scan_table(project.lake, project.graph["staging.births"], made).collect()
    assert dict(table.sort("half_year_id").select("half_year_id", "births").rows()) == {
        "2014-H1": 10,
        "2014-H2": 21,
        "2015-H1": 12,
    }


def test_a_run_killed_while_a_damaged_batch_is_replaced_leads_to_the_same_lake(
    settings: Settings, tmp_path: Path, stride: int
) -> None:
    landed = Landed(settings, tmp_path / "source")
    landed.change(PAGE, lambda body: body[:-3])
    before = contents(settings.lake)
    writes = heal(settings, landed.source.folder)
    expected = tables(picture(settings.lake))
    for trapdoor in range(1, writes + 1, 3 * stride):
        restore(settings.lake, before)
        assert heal_elsewhere(settings, landed.source.folder, trapdoor) == -9, f"did not reach write {trapdoor}"
        heal(settings, landed.source.folder)
        assert tables(picture(settings.lake)) == expected, f"killed before write {trapdoor}"


def tables(pictured: dict[str, Any]) -> dict[str, Any]:
    """The published objects; a killed attempt may have one ledger entry more or less."""
    return {name: found for name, found in pictured.items() if not name.startswith("_")}


# Rows accounted for


def candidate(rows: int, **counts: int) -> Candidate:
    stored = Stored(path="staging/x/file.parquet", bytes=1, rows=rows, sha256="")
    return Candidate(objects=(stored,), files=(File(Path("x"), stored),), rows=rows, **counts)


def test_a_table_that_lost_rows_is_refused_with_the_numbers() -> None:
    check_accounted("staging.x", candidate(6, quarantined=2, duplicates=1, discarded=1), 10)
    for lost in (candidate(5, quarantined=2, duplicates=1, discarded=1), candidate(11), candidate(6, quarantined=2)):
        with pytest.raises(
            ContractError, match=r"staging\.x: expected all of 10 rows to be accounted for, found \d+ \("
        ):
            check_accounted("staging.x", lost, 10)


def test_a_page_with_other_rows_than_were_counted_is_refused_and_kept(landed: Landed) -> None:
    """The source miscounted: the bytes are those that landed, so landing them again would not help."""
    path = landed.project.ledger.path(LANDING, 1)
    entry = json.loads(landed.project.lake.get(path))
    for stored in entry["objects"]:
        stored["rows"] += 1
    landed.project.lake.put(path, json.dumps(entry).encode())
    landed.edit(lambda m: m.update(rows=8, pages=[{**page, "rows": page["rows"] + 1} for page in m["pages"]]))
    again = Project(landed.project.settings, list(landed.project.declarations.values()))
    with pytest.raises(
        ContractError, match=r"expected 3 rows in .*page-0000\d.json, as were counted when it landed, found 2"
    ):
        materialize(again, SHOPS)
    assert again.lake.exists(landed.manifest)
    assert len(again.lake.objects(landed.batch)) == 4, "three pages and the manifest"
