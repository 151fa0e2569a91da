"""Metrics from log lines: which logged events are counted, in which metric, as data.

The pipeline logs JSON lines (`ops/logging.py`) and CloudWatch's metric filters count them, so the pipeline itself never calls
CloudWatch. What is wrong comes from the looks of `ops.watch`: each logs one `watched` line with the number of open findings, in all and
of each kind. A metric with `by_asset` has the asset as its dimension; only dashboards use these.
Not here: the filters (`metric_filters.py`), what is drawn (`dashboards.py`), what raises an alarm (`alarms.py`), what can be wrong
(`ops/watching/findings.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from catalunya.cdk.deployment import PROFILES
from catalunya.ops.watching.findings import Kind


class When(StrEnum):
    """When a metric has data. CloudWatch charges a metric by the hour in which it does."""

    ALWAYS = "always"
    RUNS = "when tables are made"
    WRONG = "when something is wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A metric that counts the lines of these events, or takes a field of theirs; with `only_above_zero`, only lines where it is more than 0."""

    metric: str
    events: tuple[str, ...]
    when: When
    field: str | None = None
    unit: str = "Count"
    by_asset: bool = False
    only_above_zero: bool = False

    @property
    def pattern(self) -> str:
        """The pattern of the metric filter that matches the lines."""
        counted = " || ".join(f'($.event = "{event}")' for event in self.events)
        return f"{{ ({counted}) && ($.{self.field} > 0) }}" if self.only_above_zero else f"{{ {counted} }}"


WATCHED = ("watched",)


def of_kind(kind: Kind) -> Signal:
    """How many findings of a kind are open, in the looks that find any: a metric without data costs nothing."""
    metric = f"Findings{kind.value.title().replace('_', '')}"
    return Signal(metric=metric, events=WATCHED, field=f"kinds.{kind.value}", only_above_zero=True, when=When.WRONG)


def alarm_of(kind: Kind) -> str:
    """The alarm of a kind of finding, by its name without the environment's."""
    return kind.value.replace("_", "-")


FINDINGS = Signal(metric="Findings", events=WATCHED, field="open", when=When.ALWAYS)
URGENT = Signal(metric="UrgentFindings", events=WATCHED, field="urgent", only_above_zero=True, when=When.WRONG)
RUNS = Signal(metric="Runs", events=("materialized", "skipped"), when=When.RUNS)
FAILURES = Signal(metric="Failures", events=("task_failed",), when=When.WRONG)
FUNCTION_FAILURES = Signal(metric="FunctionFailures", events=("function_failed",), when=When.WRONG)
RETRIES = Signal(metric="SourceRetries", events=("http_retry",), when=When.WRONG)
BACKUP_GAPS = Signal(metric="BackupGaps", events=("not_backed_up", "airflow_not_backed_up"), when=When.WRONG)

SUCCEEDED = Signal(metric="Succeeded", events=("materialized", "skipped"), by_asset=True, when=When.RUNS)
FAILED = Signal(metric="Failed", events=("task_failed",), by_asset=True, when=When.WRONG)
ROWS = Signal(metric="Rows", events=("materialized",), field="rows", by_asset=True, when=When.RUNS)
SECONDS = Signal(
    metric="Seconds", events=("materialized",), field="seconds", unit="Seconds", by_asset=True, when=When.RUNS
)
QUARANTINED = Signal(metric="Quarantined", events=("materialized",), field="quarantined", by_asset=True, when=When.RUNS)
TESTS_PASSED = Signal(metric="TestsPassed", events=("model_tested",), field="passed", by_asset=True, when=When.RUNS)
TESTS_WARNED = Signal(metric="TestsWarned", events=("test_warned",), by_asset=True, when=When.WRONG)
TESTS_FAILED = Signal(metric="TestsFailed", events=("test_failed",), by_asset=True, when=When.WRONG)
DRIFT = Signal(metric="SourceDrift", events=("source_drift",), by_asset=True, when=When.WRONG)

PLAIN = (FINDINGS, URGENT, RUNS, FAILURES, FUNCTION_FAILURES, RETRIES, BACKUP_GAPS)
"""In every environment."""
KINDS = tuple(kind for kind in Kind if kind is not Kind.WATCH_SILENT)
"""The kinds of findings that have a metric. That nothing watches shows in the absence of looks."""
BY_KIND = tuple(map(of_kind, KINDS))
"""Where each kind of finding has an alarm, and where there are dashboards."""
BY_ASSET = (SUCCEEDED, FAILED, ROWS, SECONDS, QUARANTINED, TESTS_PASSED, TESTS_WARNED, TESTS_FAILED, DRIFT)
"""Where there are dashboards."""
SIGNALS = (*PLAIN, *BY_KIND, *BY_ASSET)


def signals_of(env: str, *, has_dashboards: bool) -> tuple[Signal, ...]:
    """The metrics of an environment: those that an alarm or a dashboard of it uses, and the plain ones."""
    has_kinds = has_dashboards or PROFILES[env].warns_early
    return (*PLAIN, *(BY_KIND if has_kinds else ()), *(BY_ASSET if has_dashboards else ()))
