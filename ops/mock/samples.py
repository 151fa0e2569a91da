"""The samples of the project's sources, which the mock serves beside its own tables: a source that was added is known to it.

Here: what a sample is, as a folder (`assets/samples/<landing table>/`) with `sample.json` and the answers as they were received. Not here:
recording one (`ops/scaffold`), what a protocol makes of it: `served` in the module of that protocol, which is named as its kind.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from catalunya.io.errors import ConfigurationError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.project_folder import SAMPLES, active
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.protocols import protocols
from catalunya.ops.mock.exchange import Published

FILE = "sample.json"


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One answer: what was asked, as a path and query below the portal, and the body as it was received, decompressed."""

    url: str
    type: str
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON. Raises an error of msgspec if it is none."""
        return msgspec.json.decode(self.body)  # noqa: TID251  any JSON: there is no class to learn


class _Answer(msgspec.Struct):
    file: str
    url: str
    type: str = "application/json"


class Described(msgspec.Struct, kw_only=True):
    """`sample.json`. `arguments` and `options` are what the class of the protocol was called with; `rows` is the portal's own count."""

    kind: str
    arguments: list[Any]
    options: dict[str, Any] = {}
    title: str = ""
    publisher: str = ""
    licence: str = ""
    page_url: str = ""
    recorded_at: datetime
    rows: int | None = None
    metadata: list[_Answer] = []
    pages: list[_Answer] = []


@dataclass(frozen=True, slots=True)
class Sample:
    """A recorded sample of a source: its metadata and its first pages."""

    name: str
    described: Described
    metadata: Sequence[RecordedAnswer]
    pages: Sequence[RecordedAnswer]

    @property
    def kind(self) -> str:
        return self.described.kind

    @property
    def arguments(self) -> list[Any]:
        return self.described.arguments

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments by name, lists as tuples, as declarations have them."""
        return {name: tuple(v) if isinstance(v, list) else v for name, v in self.described.options.items()}

    @property
    def recorded_at(self) -> datetime:
        return self.described.recorded_at

    @property
    def source(self) -> Source[Any]:
        """The source it is of."""
        return protocols()[self.kind](*self.arguments, **self.options)


def folder() -> Path:
    """Where the samples of the project are."""
    return active().folder / "assets" / SAMPLES


def find(folder: Path) -> list[Sample]:
    """Every sample in a folder, by name. Raises ConfigurationError if one is broken."""
    return [read(each.parent) for each in sorted(folder.glob(f"*/{FILE}"))]


def read(folder: Path) -> Sample:
    """One sample. Raises ConfigurationError if it is broken."""
    try:
        described = json_decoder(Described).decode((folder / FILE).read_bytes())
        answers = [
            [RecordedAnswer(each.url, each.type, (folder / Path(each.file).name).read_bytes()) for each in listed]
            for listed in (described.metadata, described.pages)
        ]
    except (OSError, *BROKEN_JSON) as error:
        raise _broken(folder.name, error) from None
    return Sample(folder.name, described, *answers)


def write(
    folder: Path,
    described: Described,
    metadata: Sequence[RecordedAnswer],
    pages: Sequence[RecordedAnswer],
) -> None:
    """Write a sample into a folder of its own. The names of the files follow from their types."""
    folder.mkdir(parents=True)
    for name, listed, answers in (("metadata", described.metadata, metadata), ("page", described.pages, pages)):
        for number, answer in enumerate(answers):
            listed.append(_Answer(f"{name}-{number}.{_ending(answer.type)}", answer.url, answer.type))
            (folder / listed[-1].file).write_bytes(answer.body)
    text = msgspec.json.format(msgspec.json.encode(described), indent=2)
    (folder / FILE).write_bytes(text + b"\n")


def published(folder: Path) -> dict[str, Published]:
    """What the protocols of the mock make of the samples, by the names of their datasets."""
    found = [_served(sample) for sample in find(folder)]
    return {each.name: each for each in found}


def _served(sample: Sample) -> Published:
    module = f"catalunya.ops.mock.{sample.kind}"
    if sample.kind not in protocols() or importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f"sample {sample.name}: expected a protocol that the mock knows, found {sample.kind!r}; write ops/mock/{sample.kind}.py, or "
            f"remove assets/samples/{sample.name}"
        )
    try:
        served: Published = importlib.import_module(module).served(sample)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, *BROKEN_JSON) as error:
        raise _broken(sample.name, error) from error
    return served


def _broken(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"sample {name}: expected a recorded sample in assets/samples/{name}, found {type(error).__name__}: {error}; record it again with "
        f"`catalunya new source`, or restore it from git"
    )


def _ending(media_type: str) -> str:
    """The ending of a file of this type: "application/json; charset=utf-8" -> json."""
    kind = media_type.partition(";")[0].strip().rpartition("/")[2].lower()
    return {"plain": "txt", "octet-stream": "bin"}.get(kind, "".join(c for c in kind if c.isalnum()) or "bin")


def now() -> datetime:
    """The time to note as recorded, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
