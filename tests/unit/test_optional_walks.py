"""Random walks over graphs with optional tables: whatever fails and recovers, no mart waits for ever, and all orders end the same.

Runs are played by the rules of `materialize` on a real ledger; only the making of a table is a function of its inputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer, digest
from catalunya.assets.making.plan import plan
from catalunya.assets.record.ledger import Entry, Ledger
from catalunya.assets.record.paths import manifest_path
from catalunya.assets.record.state import Reason, State
from catalunya.io.lake import Lake

BEGIN = datetime(2026, 11, 30, 5, tzinfo=UTC)
MOST_RUNS = 200
"""Far more than a graph of ten tables needs until nothing is left to do."""


def asset(key: str, *upstream: str, optional: tuple[str, ...] = (), code: str = "1") -> Asset:
    return Asset(key=key, description="", columns=(), code_version=code, upstream=upstream, optional=optional)


def graph(*assets: tuple[str, tuple[str, ...], tuple[str, ...]]) -> AssetGraph:
    return AssetGraph([asset(key, *upstream, optional=optional) for key, upstream, optional in assets])


def chain(name: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(f"landing.{name}", (), ()), (f"staging.{name}", (f"landing.{name}",), ())]


GRAPHS = {
    "on an ancestor's ancestor": graph(
        *chain("a"),
        *chain("b"),
        ("marts.dim_low", ("staging.a", "staging.b"), ("staging.b",)),
        ("marts.fact_mid", ("staging.a", "marts.dim_low"), ()),
        ("marts.agg_top", ("marts.fact_mid", "staging.b"), ("staging.b",)),
    ),
    "a diamond": graph(
        *chain("a"),
        *chain("b"),
        ("marts.dim_left", ("staging.a", "staging.b"), ("staging.b",)),
        ("marts.dim_right", ("staging.a", "staging.b"), ()),
        ("marts.agg_top", ("marts.dim_left", "marts.dim_right"), ("marts.dim_right",)),
    ),
    "one landing table for both": graph(
        ("landing.x", (), ()),
        ("staging.a", ("landing.x",), ()),
        ("staging.b", ("landing.x",), ()),
        *chain("c"),
        ("marts.dim_low", ("staging.a", "staging.b", "staging.c"), ("staging.b",)),
        ("marts.agg_top", ("marts.dim_low",), ()),
    ),
    "all optional": graph(
        *chain("a"),
        *chain("b"),
        ("marts.dim_low", ("staging.a", "staging.b"), ("staging.a", "staging.b")),
        ("marts.agg_top", ("marts.dim_low", "staging.a"), ("marts.dim_low",)),
    ),
}
SOURCE = ("answers", "passing", "for good")


@dataclass
class World:
    """The sources, what fails, and the lake; a run plays one run of `materialize`."""

    graph: AssetGraph
    ledger: Ledger
    now: datetime = BEGIN
    published: dict[str, int] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        return State(self.graph, Ledger(self.ledger.lake), self.now)

    def run(self, key: str, *, scheduled: bool = False) -> str:
        state, asset = self.state, self.graph[key]
        if state.unreadable(key):
            return "unreadable"
        stale = state.stale(key)
        if asset.layer is Layer.LANDING and stale is None:
            return self._ask(state, key) if scheduled or state.failure(key) else "skipped"
        if stale is None:
            return "skipped"
        if state.waits_for(key):
            return "deferred"
        return self._attempt(state, key, stale.reason)

    def _ask(self, state: State, key: str) -> str:
        latest = state.latest(key)
        assert latest
        if key in self.failing:
            return self._attempt(state, key, Reason.SOURCE)
        if latest.source_version == str(self.published[key]):
            if state.failure(key):
                self._record(state, replace(latest, status="unchanged", started_at=self.now))
            return "skipped"
        return self._attempt(state, key, Reason.SOURCE)

    def _attempt(self, state: State, key: str, reason: str) -> str:
        asset, last = self.graph[key], state.last_attempt(key)
        blank = Entry(
            asset=key, sequence=0, status="failed", run_id="r", correlation_id="r", reason=reason, started_at=self.now,
            seconds=0.0, code_version=asset.code_version, versions=state.versions(asset),
        )  # fmt: skip
        how = self.failing.get(key)
        if how:
            passing = how == "passing"
            before = last.failures if last and last.transient else 0
            failed = replace(blank, error="X: it fails", transient=passing, failures=(before + 1) if passing else 0)
            self._record(state, failed)
            return "failed"
        absent = set(asset.optional) - blank.versions.keys()
        assert absent == set(state.goes_without(key)), "what a run is announced to do without is what it does without"
        version = digest(key, asset.code_version, *(f"{k}={v}" for k, v in sorted(blank.versions.items())))
        entry = replace(blank, status="materialized", data_version=version)
        if asset.layer is Layer.LANDING:
            batch = f"{asset.key.replace('.', '/')}/ingested_process_at={self.now:%Y%m%dT%H%M%S}{len(self.made):03}"
            self.ledger.lake.put(manifest_path(batch), b"{}")
            number = str(self.published[key])
            entry = replace(entry, data_version=digest(key, number), source_version=number, batch=batch)
        self._record(state, entry)
        self.made.append(key)
        for up in self.graph.upstream(key):
            if up.layer is Layer.LANDING and (used := self.state.used_batch(up)):
                self.ledger.lake.delete([each.path for each in used])
        return "made"

    def _record(self, state: State, entry: Entry) -> None:
        last = state.last_attempt(entry.asset)
        self.ledger.append(entry, after=last.sequence if last else 0)

    def break_ledger(self, key: str) -> None:
        if key in self.broken or not (last := self.state.last_attempt(key)):
            return
        path = Ledger.path(key, last.sequence + 1)
        self.ledger.lake.put(path, b"not json")
        self.broken[key] = path

    def repair(self, key: str) -> None:
        if path := self.broken.pop(key, None):
            self.ledger.lake.delete([path])

    def change_code(self, key: str) -> None:
        changed = [replace(a, code_version=f"{int(a.code_version) + 1}") if a.key == key else a for a in self.graph]
        self.graph = AssetGraph(changed)

    def lose_batch(self, key: str) -> None:
        entry = self.state.known(key)
        if entry and entry.batch:
            self.ledger.lake.delete([each.path for each in self.ledger.lake.objects(entry.batch)])

    def settle(self, chance: random.Random) -> None:
        """Reconcile until nothing is left to trigger at this time."""
        for _ in range(MOST_RUNS):
            neglected = self.state.neglected(self.graph)
            if not neglected:
                return
            key = chance.choice(neglected).key
            assert self.run(key) != "deferred", f"{key} is triggered, and waits: {self.state.waits_for(key)}"
        raise AssertionError(f"it never ends: {self.state.neglected(self.graph)}")

    def blocked(self, key: str) -> bool:
        """Whether a table has a reason to wait now that nothing runs: a required table is missing, or may still be made."""
        state = self.state
        if any(state.unreadable(k) for k in (key, *self.graph[key].upstream)):
            return True
        for up in self.graph[key].upstream:
            entry = state.known(up)
            if up not in self.graph[key].optional and entry is None:
                return True
            if up.startswith("landing") and entry and not state.serves(entry, key) and state.failure(up):
                return True
        for up in self.graph.required(key):
            if state.unreadable(up):
                continue
            if (stale := state.stale(up)) is None or stale.reason is Reason.UNREADABLE or state.failed(up):
                continue
            if self.graph[up].layer is Layer.LANDING and state.known(up):
                needed = [d for d in state.waiting(up) if d == key or d in self.graph.required(key)]
                if not needed:
                    continue
            if state.failure(up) or self.blocked(up):
                return True
        return False

    def expected(self, key: str) -> str:
        """The data version of a table when all is well."""
        asset = self.graph[key]
        if asset.layer is Layer.LANDING:
            return digest(key, str(self.published[key]))
        return digest(key, asset.code_version, *(f"{k}={self.expected(k)}" for k in sorted(asset.upstream)))


def check_rest(world: World) -> None:
    """What must hold when nothing is left to trigger."""
    state = world.state
    for asset in world.graph:
        key = asset.key
        entry = state.known(key)
        if entry and asset.optional:
            assert set(state.without(key)) >= set(asset.optional) - entry.versions.keys()
        if state.stale(key) is None or state.failure(key) or asset.layer is Layer.LANDING:
            continue
        assert world.blocked(key), f"{key} could be made, and waits: {state.waits_for(key)}"


def happen(world: World, chance: random.Random, keys: list[str], landed: list[str]) -> None:
    """One thing that happens to a source, a table or the lake, or one run that someone starts."""
    key, source = chance.choice(keys), chance.choice(landed)
    events: dict[str, Callable[[], object]] = {
        "fails for good": lambda: world.failing.update({key: "for good"}),
        "fails in passing": lambda: world.failing.update({key: "passing"}),
        "recovers": lambda: world.failing.pop(key, None),
        "published": lambda: world.published.update({source: world.published[source] + 1}),
        "code": lambda: world.change_code(key),
        "ledger breaks": lambda: world.break_ledger(key),
        "ledgers repaired": lambda: [world.repair(each) for each in list(world.broken)],
        "batch lost": lambda: world.lose_batch(source),
        "asked on schedule": lambda: world.run(source, scheduled=True),
        "started": lambda: world.run(key),
    }
    events[chance.choice(list(events))]()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", GRAPHS)
def test_any_order_of_failures_and_recoveries_ends_in_the_same_tables(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(f"{name} {seed}")
    world = World(GRAPHS[name], Ledger(Lake(str(tmp_path / "lake"))))
    keys = [each.key for each in world.graph]
    landed = [key for key in keys if key.startswith("landing")]
    world.published = dict.fromkeys(landed, 1)
    for key in keys:
        if chance.random() < 0.3:
            world.failing[key] = chance.choice(SOURCE[1:])
    world.settle(chance)
    check_rest(world)
    for _ in range(15):
        world.now += timedelta(minutes=chance.choice((1, 15, 60, 420)))
        happen(world, chance, keys, landed)
        if chance.random() < 0.7:
            world.settle(chance)
            check_rest(world)
    world.failing.clear()
    for key in list(world.broken):
        world.repair(key)
    for key in keys:  # what failed for good is repaired by a change of its code
        if world.state.failed(key) and not key.startswith("landing"):
            world.change_code(key)
    world.now += timedelta(hours=7)
    for key in landed:
        world.run(key, scheduled=True)
    world.settle(chance)
    world.now += timedelta(hours=7)
    world.settle(chance)
    state = world.state
    for key in keys:
        entry = state.latest(key)
        assert entry, key
        assert state.stale(key) is None, (key, state.stale(key), state.held_back(key))
        assert entry.data_version == world.expected(key), key
        assert state.without(key) == [], key


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", GRAPHS)
def test_while_all_is_well_each_table_is_made_once_in_a_wave(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(f"{name} {seed}")
    world = World(GRAPHS[name], Ledger(Lake(str(tmp_path / "lake"))))
    landed = [each.key for each in world.graph if each.layer is Layer.LANDING]
    world.published = dict.fromkeys(landed, 1)
    for _ in range(3):
        planned = {step.key: step for step in plan(world.state, world.graph)}
        world.settle(chance)
        assert len(world.made) == len(set(world.made)), world.made
        assert set(world.made) <= planned.keys()
        assert not any("without" in step.why for step in planned.values())
        world.made.clear()
        world.now += timedelta(hours=1)
        for key in chance.sample(landed, chance.randint(1, len(landed))):
            world.published[key] += 1
            world.run(key, scheduled=True)
        for key in chance.sample([each.key for each in world.graph if each.key not in landed], 1):
            world.change_code(key)


@pytest.mark.parametrize("how", ["passing", "for good"])
def test_a_source_that_only_an_optional_table_still_needs_holds_no_mart(how: str, tmp_path: Path) -> None:
    """Its batch is gone, and only the optional table, which failed, would be made from a new one."""
    chance = random.Random(1)
    world = World(GRAPHS["one landing table for both"], Ledger(Lake(str(tmp_path / "lake"))))
    world.published = {"landing.x": 1, "landing.c": 1}
    world.failing["staging.b"] = "for good"
    world.settle(chance)
    assert world.state.without("marts.dim_low") == ["staging.b"]

    world.lose_batch("landing.x")
    world.failing["landing.x"] = how
    world.settle(chance)
    world.published["landing.c"] = 2
    world.made.clear()
    world.run("landing.c", scheduled=True)
    world.settle(chance)
    assert sorted(world.made) == ["landing.c", "marts.agg_top", "marts.dim_low", "staging.c"]
