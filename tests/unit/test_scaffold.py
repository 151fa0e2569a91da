"""What `catalunya new source` proposes: names, types, a key, what may be personal; and how a file is written."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.io.environment import Settings
from catalunya.io.errors import UsageError
from catalunya.io.sources.base import About, FieldInfo
from catalunya.io.sources.files import File
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.protocols import arguments
from catalunya.io.sources.socrata import Socrata
from catalunya.ops import mock
from catalunya.ops.mock import samples
from catalunya.ops.mock.ckan import resource
from catalunya.ops.mock.exchange import Published
from catalunya.ops.mock.file import PublishedFile
from catalunya.ops.mock.jsonstat import PublishedDataset
from catalunya.ops.mock.samples import Described
from catalunya.ops.scaffold import code
from catalunya.ops.scaffold.csv_form import form_of
from catalunya.ops.scaffold.names import english, table_name
from catalunya.ops.scaffold.personal import hidden, identity_numbers, values_within
from catalunya.ops.scaffold.profile import Profile, Proposal, profile
from catalunya.ops.scaffold.sampling import as_written, ask, find_source
from catalunya.ops.scaffold.source import NewSource, new_source


def proposed(
    columns: dict[str, list[str | None]],
    kinds: dict[str, str] | None = None,
    *,
    key: tuple[str, ...] = (),
    **about: Any,
) -> Profile:
    """The proposal for a table of these columns; the sample is all of it unless `rows` says otherwise."""
    fields = tuple(FieldInfo(name, (kinds or {}).get(name, "text")) for name in columns)
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    options: dict[str, Any] = {"rows": frame.height} | about
    described = About(
        "ab12-cd34", "A table", datetime(2026, 1, 1, tzinfo=UTC), fields, "https://example.org", **options
    )
    return profile(described, frame, key=key)


def column(found: Profile, field: str) -> Proposal:
    return next(each for each in found.proposals if each.field.name == field)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", "2"], "text", "bigint"),
        (["01", "2"], "text", "string"),  # a leading zero: a code
        (["1", "2.5"], "text", "double"),
        (["1", "x"], "text", "string"),
        (["1", "2"], "number", "bigint"),
        (["1.5", "2e3"], "number", "double"),
        (["2024-01-31", "2024-02-01"], "text", "date"),
        (["2024-01-31T00:00:00.000"], "calendar_date", "date"),
        (["2024-01-31T12:30:00.000"], "calendar_date", "timestamp"),
        (["05/03/2020", "31/12/2021"], "text", "date"),
        (["05/03/2020", "06/04/2021"], "text", "string"),  # March or May?
        (["1.234,5", "0,25"], "text", "double"),
        (["1.234", "5.678"], "text", "string"),  # thousands or decimals?
        (["TRUE", "false"], "text", "boolean"),
        ([None, None], "text", "string"),
        (["..", "null"], "text", "string"),
        (["99999999999999999999"], "text", "string"),
    ],
)
def test_a_type_is_one_that_every_value_has(values: list[str | None], kind: str, expected: str) -> None:
    found = proposed({"field": values, "n": [str(at) for at in range(len(values))]}, {"field": kind})
    assert column(found, "field").type == expected


def test_a_column_without_values_says_that_its_type_is_a_guess() -> None:
    found = column(proposed({"empty": [None, None], "id": ["a", "b"]}), "empty")
    assert (found.type, found.nullable, found.notes) == (
        "string",
        True,
        ("has no value in the sample: its type is a guess",),
    )


def test_nothing_is_required_because_a_sample_is_complete() -> None:
    columns = {"id": [f"a{at}" for at in range(30)], "x": ["1", "2"] * 15}
    assert not column(proposed(columns), "x").nullable
    assert column(proposed(columns, rows=900), "x").nullable
    assert column(proposed({"id": ["a", "b"], "x": ["1", "2"]}), "x").nullable, "two rows tell nothing"


def test_a_range_of_the_sample_is_a_comment_and_no_bound() -> None:
    found = column(
        proposed({"id": [f"a{at}" for at in range(30)], "people": [str(at + 5) for at in range(30)]}), "people"
    )
    assert (found.low, found.high, found.seen) == (0, None, "In the sample: 5 to 34")
    below = column(
        proposed({"id": [f"a{at}" for at in range(30)], "change": [str(at - 5) for at in range(30)]}), "change"
    )
    assert (below.low, below.high) == (None, None)


def test_the_key_is_the_one_that_the_source_declares() -> None:
    fields = (FieldInfo("code", "text"), FieldInfo("row", "text"))
    about = About("ab12-cd34", "t", None, fields, "", rows=2, key=("row",))
    found = profile(about, pl.DataFrame({"code": ["1", "2"], "row": ["x", "y"]}))
    assert ([each.field.name for each in found.key], found.key_reason) == (["row"], "the source declares it")


def test_a_declared_key_that_the_sample_contradicts_is_not_believed() -> None:
    fields = (FieldInfo("code", "text"), FieldInfo("row", "text"))
    found = profile(
        About("i", "t", None, fields, "", rows=2, key=("row",)), pl.DataFrame({"code": ["a", "b"], "row": ["x", "x"]})
    )
    assert [each.field.name for each in found.key] == ["code"]


def test_the_key_may_be_of_several_columns() -> None:
    rows = [(str(year), f"{code:02}", "7") for year in (2023, 2024) for code in range(1, 4)]
    found = proposed(dict(zip(("any", "codi", "total"), map(list, zip(*rows, strict=True)), strict=True)))
    assert [each.column for each in found.key] == ["year", "code"]
    assert column(found, "any").period
    assert (column(found, "any").low, column(found, "any").high) == (1900, 2100)


def test_a_measure_is_no_key_although_it_is_unique() -> None:
    found = proposed({"litres": ["1.5", "2.5", "3.5"]})
    assert not found.key
    assert any("no key" in note for note in found.notes)


def test_a_code_goes_before_a_date_whatever_the_language_of_its_name() -> None:
    found = proposed({"Data alta": ["2019-02-03", "2020-11-17"], "Codi parada": ["001", "002"]})
    assert [each.field.name for each in found.key] == ["Codi parada"]


def test_the_parts_of_one_thing_are_told_apart_by_their_position_if_by_nothing_else() -> None:
    rows = [
        ("R1", "Fort", "-73.3948"),
        ("R1", "Fort", "-73.4209"),
        ("R2", "Mill", "-74.17893"),
        ("R2", "Mill", "-74.1781"),
    ]
    found = proposed(dict(zip(("code", "name", "x"), map(list, zip(*rows, strict=True)), strict=True)))
    assert [each.field.name for each in found.key] == ["code", "x"]
    priced = [(code, name, f"{at}.5") for at, (code, name, _) in enumerate(rows)]
    assert not proposed(dict(zip(("code", "name", "x"), map(list, zip(*priced, strict=True)), strict=True))).key


def test_the_portals_own_profile_may_rule_a_key_out() -> None:
    fields = (FieldInfo("code", "text", distinct=5), FieldInfo("row", "text", distinct=900))
    found = profile(About("i", "t", None, fields, "", rows=900), pl.DataFrame({"code": ["a", "b"], "row": ["x", "y"]}))
    assert [each.field.name for each in found.key] == ["row"]


def test_a_key_that_a_person_names_is_tested() -> None:
    columns: dict[str, list[str | None]] = {"a": ["x", "x"], "b": ["1", "2"], "c": ["1", None]}
    assert [each.field.name for each in proposed(columns, key=("a", "b")).key] == ["a", "b"]
    for key, message in (
        (("a",), "not unique: 2 of 2 rows"),
        (("c",), "c has no value"),
        (("d",), "names d, expected fields"),
    ):
        with pytest.raises(UsageError, match=message):
            proposed(columns, key=key)


def test_personal_suspects_stay_in_landing() -> None:
    people: dict[str, list[str | None]] = {
        "id": ["1", "2"],
        "cognoms": ["Puig", "Serra"],
        "titular": ["12345678Z", "X2482300W"],
        "contacte": ["a@example.org", "b@example.org"],
        "atencio": ["93 555 12 34", "+34 972 123 456"],
        "places": ["612345678", "712345678"],  # nine digits are many things
    }
    found = proposed(people)
    assert {each.field.name for each in found.proposals if each.personal} == {
        "cognoms",
        "titular",
        "contacte",
        "atencio",
    }
    text = code.contract_module("people", found)
    assert "personal=True" in text
    assert "source=RawPeople.cognoms" not in text


def test_names_beside_surnames_are_of_people() -> None:
    columns = {"Nom": ["Maria"], "Primer cognom": ["Puig"], "Data de naixement": ["1970-01-31"], "IBAN": ["ES91"]}
    assert all(column(proposed(columns), name).personal for name in columns)
    assert not column(proposed({"Nom": ["Vic"], "Comarca": ["Osona"]}), "Nom").personal


def test_years_in_the_names_of_columns_are_noticed() -> None:
    wide = proposed({"codi": ["01", "02"], **{f"any_{year}": ["1", "2"] for year in (2021, 2022, 2023)}})
    assert any("unpivot=" in note for note in wide.notes)


def test_identity_numbers_are_told_by_their_control() -> None:
    numbers = pl.Series(["12345678Z", "X2482300W", "A58818501", "Q0801175A", "12345678A", "A58818502", "", "Z"])
    assert identity_numbers(numbers).to_list() == [True, True, True, True, False, False, False, False]


def test_personal_values_are_not_in_the_recorded_sample() -> None:
    body = '[{"nif":"12345678Z","nom":"Núria «Vila»","n":"123456789","x":"\\u004eúria «Vila»"}]'.encode()
    found = hidden(body, ["12345678Z", "Núria «Vila»"])
    assert b"12345678Z" not in found
    assert "Vila" not in found.decode(errors="replace").replace("\\u004e", "N").split('"x"')[0]
    assert b'"n":"123456789"' in found


@pytest.mark.parametrize(
    "body",
    [
        'nom;any\n"Núria ""Nuri"" Pi/Mas";2024\n'.encode(),
        'nom;any\n"Núria ""Nuri"" Pi/Mas";2024\n'.encode("windows-1252"),
        rb'[{"nom":"N\u00faria \"Nuri\" Pi\/Mas"}]',
        rb'[{"nom":"N\u00FAria \"Nuri\" Pi/Mas"}]',
    ],
)
def test_a_personal_value_is_hidden_however_the_answer_writes_it(body: bytes) -> None:
    found = hidden(body, ['Núria "Nuri" Pi/Mas'])
    assert not any(part in found for part in (b"ria", b"Nuri", b"Mas"))


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ({"telefon": "x"}, "telephone numbers, by its name, in telefon"),
        (
            {"dades": [{"a": 1}, {"a": "12345678Z"}, {"a": "X2482300W"}]},
            "numbers of identity documents, by its values, in a",
        ),
        ({"nom": "Maria", "cognoms": "Puig"}, "names of people, beside surnames, in nom"),
        (["a@example.org"], "e-mail addresses, by its values, in place"),
        ({"type": "Point", "coordinates": [2.17, 41.38]}, ""),
    ],
)
def test_what_objects_hold_is_judged_like_fields(inner: Any, why: str) -> None:
    for body in (json.dumps([{"id": 1, "place": inner}]), f'{{"place": null}}\n{json.dumps({"place": inner})}\n'):
        within = values_within([body.encode()], {"place"})
        about = About("i", "t", None, (FieldInfo("id", "text"), FieldInfo("place", "object")), "", rows=1)
        found = column(profile(about, pl.DataFrame({"id": ["1"]}), within=within), "place")
        assert (found.column, found.personal) == ("", bool(why))
        assert why in "".join(found.notes)


def test_hiding_leaves_json_whole() -> None:
    body = b'{"tel": 933001122, "nom": "Pau", "ok": null, "any": 2024}\n'
    found = json.loads(hidden(body, ["933001122", "Pau", "null"]))
    assert found == {"tel": 111111111, "nom": "xxx", "ok": None, "any": 2024}


def test_the_portals_own_profile_of_a_personal_field_is_not_kept() -> None:
    columns = [{"fieldName": name, "cachedContents": {"largest": "Zoe Pi"}} for name in ("nom", "carrer")]
    found = json.loads(hidden(json.dumps({"id": "ab12-cd34", "columns": columns}).encode(), [], ["nom"]))
    assert found["columns"] == [{"fieldName": "nom"}, columns[1]]


def test_personal_values_are_hidden_in_a_parquet_file_too() -> None:
    body = io.BytesIO()
    pl.DataFrame({"nif": ["12345678Z", None], "tel": [934567890, 1], "nom": ["Vila", "Pla"]}).write_parquet(body)
    found = pl.read_parquet(io.BytesIO(hidden(body.getvalue(), [], ["nif", "tel"])))
    assert found.rows() == [("11111111x", 111111111, "Vila"), (None, 1, "Pla")]


def test_a_type_that_holds_objects_has_no_column() -> None:
    about = About("i", "t", None, (FieldInfo("id", "text"), FieldInfo("where", "point")), "", rows=1)
    found = profile(about, pl.DataFrame({"id": ["1"]}))
    assert [each.column for each in found.proposals] == ["id", ""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("any", "year"),
        ("codi_municipi", "municipality_code"),
        ("Nom de la comarca", "comarca_name"),
        ("codiPostal", "postal_code"),
        ("dones_resid_ncia_gent_gran", "dones_resid_ncia_gent_gran"),  # half a translation would be no language
        ("l'Hospitalet (total)", "l_hospitalet_total"),
        ("数据", ""),
    ],
)
def test_a_name_is_english_where_all_of_its_words_are_known(text: str, expected: str) -> None:
    assert english(text) == expected


@pytest.mark.parametrize("name", ["class", "type", "graph", "model", "marts", "landing", "file", "Población", "1a"])
def test_a_name_that_means_something_else_is_refused(name: str, settings: Settings) -> None:
    with pytest.raises(UsageError, match="give another --name"):
        new_source("http://127.0.0.1:9/rows.csv", settings, name=name)


@pytest.mark.parametrize("name", ["*", "^.*$", "^dni$"])
def test_a_source_with_a_field_that_cannot_be_looked_at_is_refused_and_nothing_of_it_is_kept(
    name: str, settings: Settings
) -> None:
    file = PublishedFile(address="https://files.example.org/a.csv", content=f"id;{name}\n1;12345678Z\n".encode())
    with mock.serve(datasets=[file]) as portal:
        asked_at = settings.model_copy(update={"mock_url": portal.url})
        source, _ = find_source("https://files.example.org/a.csv", asked_at)
        with pytest.raises(UsageError, match="expected fields with names, found") as error:
            ask(as_written(source, asked_at), asked_at)
    assert name in str(error.value)
    assert "12345678Z" not in str(error.value)


@pytest.mark.parametrize("name", ["velib", "x2", "areas"])
def test_the_import_of_the_contracts_is_sorted(name: str) -> None:
    text = code.asset_module(name, proposed({"a": ["1", "2"]}), Socrata("ab12-cd34"), "@weekly")
    ours = "lint.isort.known-first-party=['catalunya']"
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I", "--config", ours, "-"]
    done = subprocess.run(ruff, input=code.formatted(text), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_dbt_runs_nothing_that_a_source_describes() -> None:
    fields = (FieldInfo("codi", "text", description="{{{ env_var('HOME') }} {% raw %} {# x"),)
    about = About("x", "{{ 1/0 }} <b>{</b>{ y }}", None, fields, "", description="{%if%}", licence="{{{%{#")
    text = code.contract_module("x", profile(about, pl.DataFrame({"codi": ["1"]})))
    assert not any(sign in text for sign in ("{{", "{%", "{#"))
    assert "env_var" in text


def test_the_address_of_this_machine_is_to_be_replaced_where_the_mock_reads_it_too() -> None:
    made = NewSource("rows", File("http://127.0.0.1:8920/rows.csv"), proposed({"a": ["1"]}), [])
    assert made.to_decide[0].endswith("in assets/rows.py and in assets/samples/rows/sample.json")


def test_a_table_is_called_as_its_title_says() -> None:
    assert table_name("Municipis Catalunya Geo") == "municipis_catalunya_geo"
    assert (
        table_name("Serveis per a persones amb dependència: centre de dia i residència")
        == "serveis_per_a_persones_amb_dependencia"
    )
    assert not table_name("2024")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("a,b\n1,2\n", {}),
        ("a;b;c\n1;2,5;3\n", {"delimiter": ";"}),
        ("Títol\n\na\tb\n1\t2\n3\t4\n", {"delimiter": "\t", "skip": 2}),
        ("1;x;2024-01-01\n2;y;2024-01-02\n", {"delimiter": ";", "header": False}),
        ("only one column\nof text\n", {}),
        ('a;"b\nin two lines"\n1;"x\ny"\n2;z\n', {"delimiter": ";"}),
        ("nom,2023,2024\nVic,12,13\nOlot,1,2\n", {}),  # years are names here
        ("Vic,2023,Osona\nOlot,2023,Garrotxa\n", {"header": False}),
        (",nom,total\n0,Vic,1\n1,Olot,2\n", {}),  # an index without a name
        ("Vic;Vic;Osona\nOlot;Olot;Garrotxa\n", {"delimiter": ";", "header": False}),
        ("a;b\n1;2;\n3;4;\n", {"delimiter": ";", "header": False, "names": ("a", "b", "column_3"), "skip": 1}),
        ("Any,Total,Total\n1,2,3\n", {"header": False, "names": ("Any", "Total", "Total_2"), "skip": 1}),
    ],
)
def test_how_a_file_is_written_is_seen_at_its_beginning(lines: str, expected: dict[str, Any]) -> None:
    assert form_of(lines.encode()) == expected


@pytest.mark.parametrize(("beginning", "kind"), [(b"PAR1\x15\x04", "parquet"), (b'\xef\xbb\xbf{"a": 1}\n', "jsonl")])
def test_another_format_is_seen_at_the_beginning_of_a_file(beginning: bytes, kind: str) -> None:
    assert form_of(beginning) == {"format": kind}


def test_the_encoding_of_a_file_is_seen_at_its_beginning() -> None:
    assert form_of("codi;població\n1;Lleida\n".encode("windows-1252")) == {"delimiter": ";", "encoding": "windows-1252"}
    assert form_of("codi;població".encode()[:-1]) == {"delimiter": ";"}, "the last character may be cut off"


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/rows.csv?token=s3cr3t-s3cr3t",
        "https://example.org/rows.csv?id=1&api_key=s3cr3t-s3cr3t",
        "https://example.org/json-stat/7?access_token=s3cr3t-s3cr3t",
        "https://bucket.example.org/rows.csv?X-Amz-Credential=x&X-Amz-Signature=s3cr3ts3cr3t",
        "https://account.example.org/rows.csv?sv=2024-01-01&sig=s3cr3ts3cr3t",
        "https://example.org/rows.csv?apikey=s3cr3t-s3cr3t",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_shown(address: str, settings: Settings) -> None:
    with pytest.raises(UsageError, match="holds a secret") as refused:
        find_source(address, settings)
    assert "s3cr3t" not in str(refused.value)


def test_a_field_of_one_letter_keeps_its_name() -> None:
    about = About("x", "X", None, (FieldInfo("v", "text"), FieldInfo("q", "text", "Preu")), "")
    found = profile(about, pl.DataFrame({"v": ["1", "2"], "q": ["1", "2"]}))
    assert [each.column for each in found.proposals] == ["v", "price"]


def test_an_address_of_the_mock_is_that_of_the_portal_it_stands_for(settings: Settings) -> None:
    for address, expected in (
        ("http://127.0.0.1:9999/resource/yavr-pn8q.json", Socrata("yavr-pn8q")),
        ("http://127.0.0.1:9999/data.ny.gov/d/39hk-dx4f", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
        ("http://127.0.0.1:9999/taules/v2/ep/9122/10002/mun", Idescat("ep/9122/10002/mun")),
        ("https://analisi.transparenciacatalunya.cat/d/yavr-pn8q", Socrata("yavr-pn8q")),
        ("https://data.ny.gov/d/39hk-dx4f", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
    ):
        source, asked = find_source(address, settings)
        assert source == expected
        assert asked.mock == ("http://127.0.0.1:9999" if "127" in address else settings.mock)


def test_a_source_of_any_protocol_is_asked_and_its_sample_is_served_again(settings: Settings, tmp_path: Path) -> None:
    uuid = "52696168-d8bc-4707-9a09-a21c6c2669f3"
    births = {
        "class": "dataset",
        "updated": "2026-02-01",
        "id": ["sex", "time"],
        "size": [2, 2],
        "role": {"time": ["time"]},
        "dimension": {
            "sex": {"category": {"index": ["F", "M"], "label": {"F": "Women", "M": "Men"}}},
            "time": {"category": {"index": ["2024", "2025"]}},
        },
        "value": [1, 2, 3, None],
    }
    quarters = pl.DataFrame({"Codi barri": ["01", "02"], "Valor": ["1", "2"]})
    types = {"Codi barri": "text", "Valor": "numeric"}
    served: list[Published] = [
        PublishedDataset(
            address="https://stat.example.org/data/births.json", answers={"": json.dumps(births).encode()}
        ),
        resource(
            uuid,
            quarters.with_columns(pl.format('"{}"', "Codi barri").alias("Codi barri")),
            types,
            modified="2026-01-01T00:00:00",
        ),
        PublishedFile(
            address="https://files.example.org/a.csv", content="codi;població\n01;5\n02;6\n".encode("windows-1252")
        ),
    ]
    expected = {
        "https://stat.example.org/data/births.json": (["sex_code", "year"], 4),
        f"https://data.example.org/dataset/barris/resource/{uuid}": (["neighborhood_code"], 2),
        "https://files.example.org/a.csv": (["code"], 2),
    }
    for address, (key, rows) in expected.items():
        with mock.serve(datasets=served) as portal:
            asked_at = settings.model_copy(update={"mock_url": portal.url})
            source, _ = find_source(address, asked_at)
            asked = ask(as_written(source, asked_at), asked_at)
        found = profile(asked.about, asked.rows)
        assert ([each.column for each in found.key], found.rows) == (key, rows)
        by_position, by_name = arguments(asked.source)
        described = Described(kind=source.kind, arguments=by_position, options=by_name, recorded_at=datetime.now(UTC))
        samples.write(tmp_path / source.kind, described, asked.metadata, asked.pages)
    again = samples.published(tmp_path)
    assert len(again) == len(expected)
    with mock.serve(datasets=[*again.values()]) as portal:
        for sample in samples.find(tmp_path):
            assert ask(sample.source, settings.model_copy(update={"mock_url": portal.url})).rows.height in (2, 4)
