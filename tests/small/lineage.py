"""A receiver of OpenLineage events on a free port, and the specification's schemas, by which every event is validated.

The schemas are in `tests/openlineage_spec`. An event or facet may refer to another version of its schema than the one there: the name counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from openlineage.client.uuid import generate_static_uuid
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from catalunya.ops.local_airflow.client import TaskInstance
from catalunya.ops.mock.exchange import Answer
from small.http_server import Asked, Server

SPEC = Path(__file__).parent.parent / "openlineage_spec"
Event = dict[str, Any]


@cache
def schema(name: str) -> Any:
    """One of the specification's files, by its name."""
    return json.loads((SPEC / name).read_text(encoding="utf-8"))


def _retrieve(uri: str) -> Resource[Any]:
    return Resource.from_contents(schema(urlsplit(uri).path.rpartition("/")[2]), default_specification=DRAFT202012)


@cache
def validator(url: str) -> Draft202012Validator:
    """The validator of what this URL of a schema stands for."""
    registry: Registry[Any] = Registry(retrieve=_retrieve)
    return Draft202012Validator({"$ref": url}, registry=registry, format_checker=FormatChecker())


def validate(event: Event) -> None:
    """Raise ValidationError unless the event, and each of its facets, is what the specification says."""
    validator("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent").validate(event)
    for facets, base in facets_of(event):
        for name, facet in facets.items():
            (properties,) = (schema(_file(facet))["properties"],)
            assert name in properties, f"{name} is no facet of {facet['_schemaURL']}"
            validator(facet["_schemaURL"]).validate(facet)
            assert _is_a(facet["_schemaURL"], base), f"{name}: expected a {base}, found {facet['_schemaURL']}"


def facets_of(event: Event) -> Iterator[tuple[Mapping[str, Any], str]]:
    """All facets of an event, with the kind that belongs there."""
    yield event["run"].get("facets", {}), "RunFacet"
    yield event["job"].get("facets", {}), "JobFacet"
    for dataset in [*event["inputs"], *event["outputs"]]:
        yield dataset.get("facets", {}), "DatasetFacet"
    for dataset in event["inputs"]:
        yield dataset.get("inputFacets", {}), "InputDatasetFacet"
    for dataset in event["outputs"]:
        yield dataset.get("outputFacets", {}), "OutputDatasetFacet"


def _file(facet: Mapping[str, Any]) -> str:
    return urlsplit(facet["_schemaURL"]).path.rpartition("/")[2]


def _is_a(url: str, base: str) -> bool:
    """Whether the facet's definition extends this base, as `allOf` says."""
    definition = schema(urlsplit(url).path.rpartition("/")[2])["$defs"][url.rpartition("/")[2]]
    return any(each.get("$ref", "").endswith(f"/{base}") for each in definition.get("allOf", []))


class Receiver:
    """What OpenLineage's backends are to a client: events by POST, in the order in which they came."""

    def __init__(self) -> None:
        self.answer = Answer(b"", status=201)
        self.server = Server(lambda _: self.answer)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def asked(self) -> list[Asked]:
        return self.server.asked

    @property
    def events(self) -> list[Event]:
        return [json.loads(asked.body) for asked in self.asked]

    def events_of(self, asset: str, run_id: str) -> list[Event]:
        """The events about an asset that was made in a run of Airflow, without those of its checks."""
        tag = {"key": "run_id", "value": run_id}
        return [
            event
            for event in self.events
            if event["job"]["name"] == asset
            and any(tag.items() <= each.items() for each in event["run"]["facets"]["tags"]["tags"])
        ]

    def forget(self) -> None:
        """Forget what came so far."""
        self.asked.clear()


def parent_of(task: TaskInstance, of: Mapping[str, Any], namespace: str) -> Event:
    """The task of this run as a parent, with the ids that Airflow's provider for OpenLineage gives it; `of`: its run, as Airflow's API has it."""
    at = datetime.fromisoformat(of["logical_date"] or of["run_after"])

    def run(name: str) -> Event:
        return {"runId": str(generate_static_uuid(at, f"{namespace}.{name}".encode())), "facets": {}}

    def job(name: str) -> Event:
        return {"namespace": namespace, "name": name, "facets": {}}

    return {
        "job": job(f"{task.dag_id}.{task.task_id}"),
        "run": run(f"{task.dag_id}.{task.task_id}.{task.try_number}.-1"),
        "root": {"job": job(task.dag_id), "run": run(f"{task.dag_id}.0")},
    }


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs meanwhile."""
    receiver = Receiver()
    with receiver.server.running():
        yield receiver
