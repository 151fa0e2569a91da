"""The mock serves the recorded samples of the project's sources; a source is known by its address."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.io.sources.files import File
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.jsonstat_url import JsonStat
from catalunya.io.sources.protocols import arguments, changed, protocols, recognize
from catalunya.io.sources.socrata import Socrata
from catalunya.ops import mock
from catalunya.ops.mock import samples
from catalunya.ops.mock.samples import Described, RecordedAnswer
from small.apis import Landing, fast

AT = datetime(2026, 3, 1, tzinfo=UTC)
STOPS = [{"stop": "01", "name": "Plaça"}, {"stop": "02", "name": "Port"}]
VIEW = {
    "id": "ab12-cd34",
    "name": "Stops",
    "rowsUpdatedAt": 1770000000,
    "columns": [
        {"fieldName": "stop", "dataTypeName": "text", "name": "Stop"},
        {"fieldName": "name", "dataTypeName": "text", "name": "Name"},
    ],
}
BIRTHS = {
    "version": "2.0",
    "class": "dataset",
    "href": "https://api.idescat.cat/taules/v2/pmh/1/2/com/data?lang=ca",
    "label": "Births",
    "updated": "2026-02-01",
    "id": ["YEAR", "COM"],
    "size": [1, 2],
    "role": {"time": ["YEAR"], "geo": ["COM"]},
    "dimension": {
        "YEAR": {"label": "any", "category": {"index": ["2025"], "label": {"2025": "2025"}}},
        "COM": {"label": "comarca", "category": {"index": ["13", "43"], "label": {"13": "Barcelonès"}}},
    },
    "value": [15000, None],
}


def answer(url: str, body: object) -> RecordedAnswer:
    return RecordedAnswer(url, "application/json; charset=utf-8", json.dumps(body).encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sample of each protocol."""
    options = {"portal": "https://data.ny.gov", "key": ["stop"]}
    stops = Described(kind="socrata", arguments=["ab12-cd34"], options=options, recorded_at=AT, rows=70)
    metadata, page = answer("/api/views/ab12-cd34.json", VIEW), answer("/resource/ab12-cd34.json", STOPS)
    samples.write(tmp_path / "stops", stops, [metadata], [page])
    births = Described(kind="idescat", arguments=["pmh/1/2/com"], recorded_at=AT)
    samples.write(tmp_path / "births", births, [], [answer("/taules/v2/pmh/1/2/com/data", BIRTHS)])
    return tmp_path


def test_a_sample_is_read_as_it_was_written(folder: Path) -> None:
    births, stops = samples.find(folder)
    assert (births.name, births.source) == ("births", Idescat("pmh/1/2/com"))
    assert stops.source == Socrata("ab12-cd34", key=("stop",), portal="https://data.ny.gov")
    assert stops.described.rows == 70
    assert stops.pages[0].json() == STOPS
    assert (folder / "stops" / "metadata-0.json").exists()


def test_a_sample_is_extracted_from_the_mock_like_any_table(folder: Path) -> None:
    with mock.serve(datasets=[*samples.published(folder).values()]) as server:
        for sample in samples.find(folder):
            http = fast(f"{server.url}/data.ny.gov" if sample.source.portal else server.url)
            sink = Landing()
            state = sample.source.probe(http)
            assert state
            done = sample.source.extract(http, state, sink)
            assert done.rows == 2
            fields = ["stop", "name"] if sample.name == "stops" else ["geo", "value"]
            frame = sample.source.read(sink.files["page-00000.json"], fields, 0)
            assert frame.rows() == (
                [("01", "Plaça"), ("02", "Port")] if sample.name == "stops" else [("13", "15000"), ("43", None)]
            )


def test_a_broken_sample_is_named_with_what_to_do(folder: Path) -> None:
    (folder / "stops" / "page-0.json").write_text('[{"stop":')
    with pytest.raises(ConfigurationError, match=r"^sample stops: expected a recorded sample in assets/samples/stops"):
        samples.published(folder)
    (folder / "stops" / "sample.json").write_text('{"kind": "gopher", "arguments": [], "recorded_at": "2026-03-01"}')
    with pytest.raises(ConfigurationError, match="sample stops"):
        samples.find(folder)
    (folder / "stops" / "sample.json").write_text(
        '{"kind": "gopher", "arguments": [], "recorded_at": "2026-03-01T00:00:00Z"}'
    )
    with pytest.raises(ConfigurationError, match=r"expected a protocol that the mock knows, found 'gopher'"):
        samples.published(folder)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("yavr-pn8q", Socrata("yavr-pn8q")),
        (" https://data.ny.gov/d/39hk-dx4f ", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
        ("ep/9122/10002/mun", Idescat("ep/9122/10002/mun")),
        (
            "https://api.idescat.cat/taules/v2/ep/9122/10002/mun?lang=ca",
            Idescat("ep/9122/10002/mun", portal="https://api.idescat.cat"),
        ),
    ],
)
def test_a_source_is_known_by_its_address(address: str, expected: object) -> None:
    assert recognize(address) == expected


@pytest.mark.parametrize("address", ["", "what is this", "https://example.org/", "/etc/passwd"])
def test_an_address_of_no_protocol_is_refused_with_the_forms_that_are_known(address: str) -> None:
    with pytest.raises(UsageError, match=r"expected the address of a dataset, found .*idescat: .*socrata: "):
        recognize(address)


def test_a_file_at_any_url_is_one_if_a_person_says_so() -> None:
    address = "https://example.org/download?id=7"
    with pytest.raises(UsageError, match="a file or JSON-stat at any other URL: --kind file, --kind jsonstat"):
        recognize(address)
    assert recognize(address, "file") == File(address, format="csv")
    assert recognize(address, "jsonstat") == JsonStat(address)
    with pytest.raises(UsageError, match="expected the address of a dataset"):
        recognize(address, "socrata")


def test_a_protocol_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected a protocol of .*idescat.*, found 'gopher'"):
        recognize("yavr-pn8q", "gopher")


def test_every_protocol_of_the_folder_is_found() -> None:
    assert {"socrata": Socrata, "idescat": Idescat}.items() <= protocols().items()


def test_a_source_is_rebuilt_from_its_arguments() -> None:
    for source in (
        Socrata("yavr-pn8q", key=("any", "codi"), period="any"),
        Idescat("pmh/1/2/com", "pmh/1/3/com", portal="https://api.example.org"),
    ):
        by_position, by_name = arguments(source)
        assert type(source)(*by_position, **by_name) == source
    assert arguments(Socrata("yavr-pn8q")) == (["yavr-pn8q"], {})
    assert changed(Socrata("yavr-pn8q", portal="https://x.org"), portal=None) == Socrata("yavr-pn8q")
