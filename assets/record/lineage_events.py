"""OpenLineage events of one ledger entry: what was made from what, column by column, and what its checks found.

Derived from the entry and the graph after it was recorded, so they are the same whichever process made the table. The run's id follows from the
entry: sent twice, it is the same run. A table that was made has a START and a COMPLETE event, a failed attempt a START and a FAIL. The
checks of a published table are a run of their own, with the table as input: there the specification has a place for them.
Here: from an entry to events. Not here: sending them (`io/openlineage.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from catalunya.assets.graph.column_lineage import ColumnLineage, ColumnSource, load_lineage
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.contracts.model.results import Check, result
from catalunya.io import openlineage
from catalunya.io.project_folder import active
from catalunya.io.safe_text import safe_text

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent

State = Literal["START", "COMPLETE", "FAIL"]

_TRANSFORMATIONS = {
    "identity": ("DIRECT", "IDENTITY"),
    "computed": ("DIRECT", "TRANSFORMATION"),
    "aggregated": ("DIRECT", "AGGREGATION"),
    "condition": ("INDIRECT", "CONDITIONAL"),
}
"""How a value gets into another, as the specification's facet of column lineage has it."""
_ENGINES = {Layer.LANDING: "httpx", Layer.STAGING: "polars", Layer.MARTS: "dbt-core"}


def report(project: Project, entry: Entry) -> None:
    """Send the events of an entry. Never raises."""
    openlineage.send(lambda: events(project, entry))


def events(project: Project, entry: Entry) -> list[RunEvent]:
    """The events, in the order in which they are sent. Reads no data, and nothing of the ledger."""
    return list(_Events(project, entry).all())


def namespace(project: Project) -> str:
    """The namespace of our jobs: OpenLineage's variable, or the project in its environment."""
    settings = project.settings
    return os.environ.get("OPENLINEAGE_NAMESPACE") or f"{active().name}-{settings.env}{settings.suffix}"


def run_id(project: Project, entry: Entry, part: str = "") -> str:
    """The id of the run of an entry: of version 7, by its start; the rest is a hash, so that it is the same whenever it is asked for."""
    from openlineage.client.uuid import generate_static_uuid

    data = f"{namespace(project)}.{project.lake.root}.{entry.asset}.{entry.sequence}.{part}"
    return str(generate_static_uuid(entry.started_at, data.encode()))


def dataset_name(project: Project, asset: Asset) -> tuple[str, str]:
    """Namespace and name of a table by the specification (Naming, Datasets): bucket and key in S3, the path of a folder."""
    place = project.lake.url(asset.prefix)
    if place.startswith("s3://"):
        bucket, _, key = place.removeprefix("s3://").partition("/")
        return f"s3://{bucket}", key
    return "file", place.removeprefix("file://")


class _Events:
    """The events of one entry."""

    def __init__(self, project: Project, entry: Entry) -> None:
        self.project, self.entry, self.asset = project, entry, project.graph[entry.asset]
        self.producer = f"urn:{active().name}:{version('catalunya')}"
        self.is_restore = entry.restored is not None
        self.lineage: ColumnLineage = load_lineage(project.graph)

    def all(self) -> Iterator[RunEvent]:
        entry = self.entry
        yield self._event("START", entry.started_at, [self._output(is_done=False)])
        if entry.status == "failed":
            yield self._event("FAIL", entry.recorded_at, [])
            return
        yield self._event("COMPLETE", entry.recorded_at, [self._output(is_done=True)])
        if entry.checks and entry.status == "materialized" and not self.is_restore:
            yield from self._checked()

    def _event(self, state: State, at: datetime, outputs: list[OutputDataset]) -> RunEvent:
        from openlineage.client.event_v2 import RunEvent, RunState

        return RunEvent(
            eventType=RunState(state),
            eventTime=_time(at),
            run=self._run(state),
            job=self._job(f"{self.asset.key}.restore" if self.is_restore else self.asset.key),
            inputs=list(self._inputs()),
            outputs=outputs,
            producer=self.producer,
        )

    def _run(self, state: State) -> Run:
        from openlineage.client.event_v2 import Run
        from openlineage.client.facet_v2 import (
            error_message_run,
            nominal_time_run,
            parent_run,
            processing_engine_run,
            tags_run,
            test_run,
        )

        entry, engine = self.entry, _ENGINES[self.asset.layer]
        tags = {"run_id": entry.run_id, "correlation_id": entry.correlation_id, "reason": entry.reason}
        if entry.source_version:
            tags["source_version"] = entry.source_version
        facets: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                version=version(engine), name=engine, producer=self.producer
            ),
            "tags": tags_run.TagsRunFacet(
                [tags_run.TagsRunFacetFields(k, safe_text(v, 500), active().name) for k, v in tags.items()],
                producer=self.producer,
            ),
        }
        if of := openlineage.parent():
            facets["parent"] = parent_run.ParentRunFacet(
                run=parent_run.Run(of.run_id),
                job=parent_run.Job(of.namespace, of.job),
                root=parent_run.Root(parent_run.RootRun(of.root_run_id), parent_run.RootJob(of.namespace, of.root_job)),
                producer=self.producer,
            )
        if entry.window:
            facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(
                nominalStartTime=_day(entry.window.first),
                nominalEndTime=_day(entry.window.last) if entry.window.last < date.max else None,
                producer=self.producer,
            )
        if state != "START" and entry.checks:
            facets["test"] = test_run.TestRunFacet(
                [_test(check, test_run.TestExecution) for check in entry.checks], producer=self.producer
            )
        if state == "FAIL":
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
                message=safe_text(entry.error or "failed"), programmingLanguage="python", producer=self.producer
            )
        return Run(run_id(self.project, entry), facets)

    def _job(self, name: str, kind: str = "MATERIALIZATION") -> Job:
        from openlineage.client.event_v2 import Job
        from openlineage.client.facet_v2 import documentation_job, job_type_job, tags_job

        tags = {"code_version": self.entry.code_version, "layer": str(self.asset.layer)}
        return Job(
            namespace(self.project),
            name,
            {
                "jobType": job_type_job.JobTypeJobFacet(
                    processingType="BATCH", integration=active().label.upper(), jobType=kind, producer=self.producer
                ),
                "documentation": documentation_job.DocumentationJobFacet(
                    description=self.asset.description, producer=self.producer
                ),
                "tags": tags_job.TagsJobFacet(
                    [tags_job.TagsJobFacetFields(k, v, active().name) for k, v in tags.items()], producer=self.producer
                ),
            },
        )

    def _inputs(self) -> Iterator[InputDataset]:
        """What it was made from: the source, the upstream tables in the versions that were read, or the version that was restored."""
        from openlineage.client.event_v2 import InputDataset

        if self.is_restore:
            yield InputDataset(*dataset_name(self.project, self.asset), facets=self._version(self.entry.data_version))
            return
        if self.asset.layer is Layer.LANDING:
            yield InputDataset(*self._source(), facets={**self._schema(self.asset), **self._origin(*self._source())})
        for up in self._upstream():
            place, name = dataset_name(self.project, up)
            facets = {**self._schema(up), **self._origin(place, name), **self._version(self.entry.versions[up.key])}
            yield InputDataset(place, name, facets=facets)

    def _upstream(self) -> list[Asset]:
        """The tables that it was really made from: an optional one may have been missing."""
        return [up for up in self.project.graph.upstream(self.asset.key) if self.entry.versions.get(up.key)]

    def _source(self) -> tuple[str, str]:
        """The source of a landing table: where its API is, and the dataset there."""
        return self.asset.portal or active().name, quote(self.asset.source or self.asset.name, safe="/,() ")

    def _output(self, *, is_done: bool) -> OutputDataset:
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import (
            data_quality_metrics_dataset,
            lifecycle_state_change_dataset,
            output_statistics_output_dataset,
            storage_dataset,
        )

        entry, producer = self.entry, self.producer
        place, name = dataset_name(self.project, self.asset)
        facets: dict[str, Any] = {
            **self._schema(self.asset),
            **self._origin(place, name),
            **self._documented(),
            "storage": storage_dataset.StorageDatasetFacet(
                storageLayer=place.partition(":")[0],
                fileFormat="parquet" if self.asset.layer is not Layer.LANDING else None,
                producer=producer,
            ),
            **self._columns(),
        }
        statistics: dict[str, Any] = {}
        if is_done:
            facets |= self._version(entry.data_version)
            if entry.status == "materialized":
                change = lifecycle_state_change_dataset.LifecycleStateChange
                facets["lifecycleStateChange"] = lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet(
                    change.CREATE if entry.sequence == 1 else change.OVERWRITE, producer=producer
                )
                facets["dataQualityMetrics"] = data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(
                    columnMetrics={},
                    rowCount=entry.rows,
                    bytes=entry.bytes,
                    fileCount=len(entry.objects),
                    lastUpdated=_time(entry.source_updated_at or entry.recorded_at),
                    producer=producer,
                )
                statistics["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                    rowCount=entry.rows, size=entry.bytes, fileCount=len(entry.objects), producer=producer
                )
        return OutputDataset(place, name, facets=facets, outputFacets=statistics)

    def _schema(self, asset: Asset) -> dict[str, Any]:
        from openlineage.client.facet_v2 import schema_dataset

        fields = [
            schema_dataset.SchemaDatasetFacetFields(column.name, column.type, column.description, at)
            for at, column in enumerate(asset.columns, start=1)
        ]
        return {"schema": schema_dataset.SchemaDatasetFacet(fields, producer=self.producer)}

    def _origin(self, place: str, name: str) -> dict[str, Any]:
        from openlineage.client.facet_v2 import datasource_dataset

        uri = place if "://" in place else f"file://{quote(name)}"
        return {"dataSource": datasource_dataset.DatasourceDatasetFacet(place, uri, producer=self.producer)}

    def _documented(self) -> dict[str, Any]:
        from openlineage.client.facet_v2 import documentation_dataset

        facet = documentation_dataset.DocumentationDatasetFacet(self.asset.description, producer=self.producer)
        return {"documentation": facet}

    def _version(self, of: str) -> dict[str, Any]:
        from openlineage.client.facet_v2 import dataset_version_dataset

        return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(of, producer=self.producer)}

    def _columns(self) -> dict[str, Any]:
        """What each column is made from, and the columns that decide which rows there are. A column without a source is left out."""
        from openlineage.client.facet_v2 import column_lineage_dataset as facet

        if self.is_restore:
            return {}
        known = {up.key: dataset_name(self.project, up) for up in self._upstream()}
        fields: dict[str, facet.Fields] = {}
        for column in self.asset.columns:
            if self.asset.layer is Layer.LANDING:
                same = facet.Transformation(*_TRANSFORMATIONS["identity"])
                inputs = [facet.InputField(*self._source(), column.name, [same])]
            else:
                inputs = [
                    facet.InputField(*known[source.asset], source.column, [_transformation(source)])
                    for source in self.lineage.column_sources(self.asset.key, column.name)
                    if source.asset in known
                ]
            if inputs:
                fields[column.name] = facet.Fields(inputs)
        rows = [
            facet.InputField(*known[source.asset], source.column, [facet.Transformation("INDIRECT")])
            for source in self.lineage.row_sources(self.asset.key)
            if source.asset in known
        ]
        if not fields and not rows:
            return {}
        return {"columnLineage": facet.ColumnLineageDatasetFacet(fields, rows, producer=self.producer)}

    def _checked(self) -> Iterator[RunEvent]:
        """The run that checked the table, a part of the run that made it: the table is its input, with what each check found."""
        from openlineage.client.event_v2 import InputDataset, Run, RunEvent, RunState
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality
        from openlineage.client.facet_v2 import parent_run

        made = parent_run.ParentRunFacet(
            run=parent_run.Run(run_id(self.project, self.entry)),
            job=parent_run.Job(namespace(self.project), self.asset.key),
            producer=self.producer,
        )
        place, name = dataset_name(self.project, self.asset)
        facets = {**self._schema(self.asset), **self._version(self.entry.data_version)}
        columns = {column.name for column in self.asset.columns}
        found = [_assertion(check, columns, quality.Assertion) for check in self.entry.checks]
        assertions = quality.DataQualityAssertionsDatasetFacet(found, producer=self.producer)
        at_end: dict[str, Any] = {"dataQualityAssertions": assertions}
        for state, at, input_facets in (
            ("START", self.entry.started_at, dict[str, Any]()),
            ("COMPLETE", self.entry.recorded_at, at_end),
        ):
            yield RunEvent(
                eventType=RunState(state),
                eventTime=_time(at),
                run=Run(run_id(self.project, self.entry, "checks"), {"parent": made}),
                job=self._job(f"{self.asset.key}.checks", "TEST"),
                inputs=[InputDataset(place, name, facets=facets, inputFacets=input_facets)],
                outputs=[],
                producer=self.producer,
            )


def _transformation(source: ColumnSource) -> Any:
    from openlineage.client.facet_v2 import column_lineage_dataset as facet

    return facet.Transformation(*_TRANSFORMATIONS[source.how])


def _assertion(check: Check, columns: set[str], assertion: Any) -> Any:
    return assertion(
        assertion=check.kind,
        success=not check.failed,
        column=check.column if check.column in columns else None,
        severity="warn" if check.severity == "warning" else "error",
        name=check.name,
        description=result(check),
        expected="0",
        actual=str(check.failed),
    )


def _test(check: Check, execution: Any) -> Any:
    return execution(
        name=check.name,
        status="fail" if check.failed else "pass",
        severity="warn" if check.severity == "warning" else "error",
        type=check.kind,
        description=result(check),
        expected="0",
        actual=str(check.failed),
    )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day(day: date) -> str:
    return _time(datetime.combine(day, time.min, UTC))
