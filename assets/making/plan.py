"""What a run would do, worked out before anything is touched: pure data from the graph and the ledger.

Here: the plan of a selection and of a backfill. Not here: what is stale and why (`assets/record/state.py`), doing it
(`materialize.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.state import Reason, Stale, State
from catalunya.io.errors import UsageError
from catalunya.io.periods import Window


def plan(state: State, selection: Iterable[Asset], *, force: bool = False) -> list[Stale]:
    """What making the selection would do, in dependency order. Steps with reason FORCED must be requested with `force`.

    A landing batch that was deleted after use and is needed again by a table of the selection is added to it.
    """
    chosen = {asset.key for asset in selection}
    steps: dict[str, Stale] = {}
    for asset in state.graph:
        readers = sorted(down.key for down in state.graph.downstream(asset.key) if down.key in chosen)
        if asset.key not in chosen and not (asset.layer is Layer.LANDING and readers):
            continue  # its entries are not read: one that is unreadable concerns only what depends on it
        stale = state.stale(asset.key)
        if asset.key not in chosen:
            if force and _is_gone(state, asset):
                why = f"its batch was used and deleted, and {', '.join(readers)} needs it again"
                steps[asset.key] = Stale(asset.key, Reason.FORCED, why)
            elif stale and stale.reason is Reason.CONSUMED:
                steps[asset.key] = stale
            continue
        made_before = [up for up in asset.upstream if up in steps]
        if force and not state.unreadable(asset.key):
            steps[asset.key] = Stale(asset.key, Reason.FORCED, "forced")
        elif stale:
            steps[asset.key] = stale
        elif asset.layer is Layer.LANDING:
            steps[asset.key] = Stale(asset.key, Reason.SOURCE, f"{asset.source} will be asked whether it changed")
        elif made_before:
            steps[asset.key] = Stale(asset.key, Reason.UPSTREAM, f"if {', '.join(made_before)} changes")
    return [_with_gaps(state, step, steps) for step in steps.values()]


def _with_gaps(state: State, step: Stale, steps: Mapping[str, Stale]) -> Stale:
    """The step, with the optional tables that it would be made without."""
    gaps = [f"{up} if that fails again" if up in steps else up for up in state.goes_without(step.key)]
    return replace(step, why=f"{step.why}; without {', '.join(gaps)}") if gaps else step


def plan_backfill(state: State, selection: Iterable[Asset], window: Window) -> list[Stale]:
    """What backfilling the sources of a selection would do: their landing assets, and everything made from them.

    The selection holds landing assets, or tables made directly from one. Raises UsageError where a source has no periods.
    """
    sources: set[str] = set()
    for asset in selection:
        found = {asset.key} if asset.layer is Layer.LANDING else {up for up in asset.upstream if _is_landing(state, up)}
        if not found or not all(state.graph[key].has_periods for key in found):
            above = sorted(key for key in state.graph.ancestors(asset.key) if state.graph[key].has_periods)
            todo = f"backfill {' '.join(above)}" if above and not found else f"materialize {asset.key} --force"
            raise UsageError(
                f"{asset.key}: cannot be backfilled: its source cannot be read by period (those that can: {_with_periods(state.graph)}); "
                f"`catalunya {todo}` rebuilds it"
            )
        sources |= found
    steps = {key: Stale(key, Reason.BACKFILL, f"backfill {window}") for key in sources}
    for asset in state.graph:
        above = [up for up in asset.upstream if up in steps]
        if above:
            steps[asset.key] = Stale(asset.key, Reason.UPSTREAM, f"if {', '.join(above)} changes")
    return [steps[asset.key] for asset in state.graph if asset.key in steps]


def _is_gone(state: State, asset: Asset) -> bool:
    """Whether a landing asset was made and its batch deleted."""
    entry = state.known(asset.key)
    return asset.layer is Layer.LANDING and entry is not None and not state.has_batch(entry)


def _is_landing(state: State, key: str) -> bool:
    return state.graph[key].layer is Layer.LANDING


def _with_periods(graph: AssetGraph) -> str:
    return ", ".join(asset.name for asset in graph if asset.has_periods) or "none"
