"""From a source's text to its table: one spelling of keys and names, broken rows in quarantine, types in their groups."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from structlog.testing import capture_logs

from catalunya.assets import gdp as real_gdp
from catalunya.assets import social_services
from catalunya.assets.graph.spec import Declaration, Landing, staging
from catalunya.assets.making.expressions import classify
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.notes import CHANGED
from catalunya.assets.making.request import Request
from catalunya.assets.municipalities import municipalities as real_municipalities
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import REASON, renamed
from catalunya.contracts.model.contract import Contract, column
from catalunya.contracts.municipalities import Municipalities, RawMunicipalities
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.sources.idescat import Idescat
from catalunya.ops.status import statuses
from small.shops import FolderSource, RawShops, Rows

REAL = os.environ.get("CATALUNYA_REAL_DATA")
KINDS = {"elegant": ("botiga de roba", "^moda"), "food": ("forn … pa",)}


class Named(Contract, tolerate=0.3, max_shrink=1.0):
    """Shops with their names, by kind."""

    shop_id: str = column("Code", source=RawShops.codi, key=True)
    name: str = column("Name", source=RawShops.ciutat)
    kind: str = column("Kind", classifies="name", otherwise="other")


class Table:
    """One table made from a folder of rows, again whenever the rows change."""

    def __init__(self, settings: Settings, source: FolderSource, declared: list[Declaration]) -> None:
        self.source, self.project = source, Project(settings, declared)
        self.landing, self.key = (declaration.asset.key for declaration in declared)

    def make(self, rows: Rows) -> Entry:
        self.source.write(rows, fields=dict.fromkeys(rows[0], "text"))
        materialize(self.project, self.landing)
        made = materialize(self.project, self.key).entry
        assert made
        return made

    def rows(self) -> pl.DataFrame:
        entry = self.project.ledger.latest(self.key)
        assert entry
        return scan_table(self.project.lake, self.project.graph[self.key], entry).collect().sort(by=pl.first())

    def quarantined(self) -> pl.DataFrame:
        entry = self.project.ledger.latest(self.key)
        assert entry
        assert entry.quarantine
        return pl.read_parquet(self.project.lake.get(entry.quarantine))


@pytest.fixture
def shops(settings: Settings, tmp_path: Path) -> Table:
    source = FolderSource(tmp_path / "source")
    landing = Landing("shops", source=source, contract=RawShops, schedule="0 5 * * *")

    @staging(landing, contract=Named)
    def shops(raw: pl.LazyFrame) -> pl.LazyFrame:
        return classify(raw, "name", KINDS, into="kind")

    return Table(settings, source, [landing, shops])


@pytest.fixture
def municipalities(settings: Settings, tmp_path: Path) -> Table:
    source = FolderSource(tmp_path / "source")
    landing = Landing("municipalities", source=source, contract=RawMunicipalities, schedule="0 5 * * *")

    @staging(landing, contract=Municipalities)
    def municipalities(raw: pl.LazyFrame) -> pl.LazyFrame:
        return real_municipalities.function(raw)

    return Table(settings, source, [landing, municipalities])


def named(*names: str, start: int = 0) -> list[dict[str, str]]:
    return [{"codi": f"S{start + at}", "ciutat": name, "places": "1", "telefon": "9"} for at, name in enumerate(names)]


TOWNS = (
    *(("080193", "Barcelona", "13", "Barcelonès"), ("081017", "Hospitalet de Llobregat, l'", "13", "Barcelonès")),
    *(("170221", "Bisbal d'Empordà, la", "10", "Baix Empordà"), ("170486", "Castell d'Aro, Platja d'Aro i s'Agaró", "10", "Baix Empordà")),
    *(("250241", "Alt Àneu", "26", "Pallars Sobirà"), ("431482", "Tarragona", "36", "Tarragonès")),
)  # fmt: skip


def towns(write: Callable[[str], str]) -> list[dict[str, str]]:
    names = ("codi", "nom", "codi_comarca", "nom_comarca")
    place = {"utm_x": "427350", "utm_y": "4581450", "longitud": "2.1", "latitud": "41.4", "georefer_ncia": ""}
    return [{**dict(zip(names, map(write, town), strict=True)), **place} for town in TOWNS]


@pytest.mark.parametrize(
    "write",
    [
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: f"\ufeff{text}\u200b",
        lambda text: "  " + text.replace(" ", "\u00a0\u2009") + "\n",
        lambda text: text.replace("'", "’"),
        "\u00ad".join,
    ],
    ids=["NFD", "zero width", "other spaces", "typographic", "soft hyphens"],
)  # fmt: skip
def test_the_same_names_written_otherwise_are_the_same_table(
    municipalities: Table, write: Callable[[str], str]
) -> None:
    clean = municipalities.make(towns(str))
    assert (clean.rows, clean.quarantined, clean.normalized) == (len(TOWNS), 0, {})
    before = municipalities.rows()
    written = municipalities.make(towns(write))
    assert written.sequence > clean.sequence
    assert municipalities.rows().equals(before)
    assert written.data_version == clean.data_version
    assert written.normalized.get("nom", 0) >= 3


def test_a_key_with_unseen_characters_is_the_same_key(shops: Table) -> None:
    rows = named("Forn de pa")
    keys = ("S0", "S0\u200b", " S0", "\ufeffS0", "S0\u00a0", "S\u00ad0")
    made = shops.make([{**rows[0], "codi": key} for key in keys])
    assert (made.rows, made.duplicates, made.quarantined) == (1, len(keys) - 1, 0)
    assert made.normalized == {"codi": len(keys) - 1}


def test_broken_rows_are_quarantined_as_received_with_field_and_text(shops: Table) -> None:
    made = shops.make(named("Moda ResidÃ¨ncia ", *["Moda «São João»"] * 5, "Moda Resid\ufffdncia"))
    assert (made.rows, made.quarantined) == (5, 2)
    quarantined = shops.quarantined().sort("codi")
    assert quarantined["ciutat"].to_list() == ["Moda ResidÃ¨ncia ", "Moda Resid\ufffdncia"]
    assert quarantined[REASON][0].startswith(
        "ciutat: 'Moda ResidÃ¨ncia' looks like UTF-8 read as Latin-1 or Windows-1252"
    )


def test_a_staging_function_with_reasons_of_its_own_publishes_no_broken_row(settings: Settings, tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "source")
    landing = Landing("shops", source=source, contract=RawShops, schedule="0 5 * * *")

    @staging(landing, contract=Named)
    def shops(raw: pl.LazyFrame) -> pl.LazyFrame:
        is_closed = pl.col("name").str.starts_with("Closed")
        return raw.with_columns(kind=pl.lit("any"), **{REASON: pl.when(is_closed).then(pl.lit("name: closed"))})

    table = Table(settings, source, [landing, shops])
    made = table.make(named("Resid\ufffdncia", "Closed MatarÃ³", *["Moda"] * 6))
    assert (made.rows, made.quarantined) == (6, 2)
    first, second = table.quarantined().sort("codi")[REASON]
    assert "ciutat: 'Resid\ufffdncia' has replacement characters" in first
    assert "ciutat: 'Closed MatarÃ³' looks like UTF-8 read as Latin-1" in second
    assert "name: closed" in second


def test_more_broken_rows_than_tolerated_refuse_the_table(shops: Table) -> None:
    shops.make(named(*["Moda"] * 6))
    before = shops.rows()
    with pytest.raises(ContractError, match="looks like UTF-8 read as Latin-1 or Windows-1252"):
        shops.make(named(*["Moda"] * 4, "Moda lâ€™Hospitalet", "Moda SebastiÃ\u00a0"))
    assert shops.rows().equals(before)


def test_a_field_that_was_clean_and_suddenly_is_not_is_worth_a_warning(shops: Table) -> None:
    shops.make(named(*["Moda Òdena"] * 20))
    with capture_logs() as logs:
        made = shops.make(named(*["Moda Òdena"] * 10, *[unicodedata.normalize("NFD", "Moda Òdena")] * 10))
    assert made.normalized == {"ciutat": 10}
    (warning,) = made.warnings
    assert warning.startswith("the text of ciutat was normalized in 10 of 20 rows, before in 0 of 20")
    assert [(line["field"], line["rows"]) for line in logs if line["event"] == "text_normalized"] == [("ciutat", 10)]
    (_, status) = statuses(shops.project.state(), shops.project.graph)
    assert status.warnings == made.warnings


def test_a_field_that_never_was_clean_is_not(shops: Table) -> None:
    shops.make(named(*["Moda Òdena"] * 20, *[" Moda "] * 5))
    made = shops.make(named(*["Moda Òdena"] * 20, *[" Moda "] * 6))
    assert (made.normalized, made.warnings) == ({"ciutat": 6}, ())


def test_a_few_rows_are_not(shops: Table) -> None:
    shops.make(named(*["Moda"] * 100))
    few = int(100 * CHANGED) - 1
    assert shops.make(named(*["Moda"] * (100 - few), *["Moda "] * few)).warnings == ()


def test_names_that_no_rule_knows_are_reported_and_get_the_other_value(shops: Table) -> None:
    with capture_logs() as logs:
        made = shops.make(
            named("MODA", "Botigues de robes", "Forns del PA", "Ferreteria", "Ferreteria", "Cal\x1b[31m Pep")
        )
    assert shops.rows()["kind"].to_list() == ["elegant", "elegant", "food", "other", "other", "other"]
    assert made.warnings == ("no rule of kind knows Ferreteria; Cal[31m Pep (3 rows); add them to its rules",)
    (logged,) = [line for line in logs if line["event"] == "name_unknown"]
    assert (logged["names"], logged["rows"]) == (["Ferreteria", "Cal[31m Pep"], 3)


def test_a_warning_stays_while_only_a_part_is_read_again(shops: Table) -> None:
    made = shops.make(named("Ferreteria", *["Moda"] * 3, "Moda ResidÃ¨ncia"))
    again = materialize(shops.project, shops.key, Request(replay=True)).entry
    assert again
    assert again.sequence > made.sequence
    assert (again.warnings, again.normalized) == (made.warnings, made.normalized)


def test_a_column_can_only_classify_another_column_of_its_contract() -> None:
    class Wrong(Contract):
        """Classifies nothing that is there."""

        shop_id: str = column("Code", key=True)
        kind: str = column("Kind", classifies="nom", otherwise="other")

    with pytest.raises(
        DeclarationError, match="contract Wrong: expected column kind to classify another column, found nom"
    ):
        Wrong.columns()


@pytest.mark.parametrize(
    ("label", "sector"),
    [
        ("Indústria", "industry"),
        ("INDUSTRIES", "industry"),
        ("industria", "industry"),
        ("Indu\u0301stria", "industry"),
        ("Serveis", "services"),
        ("PIB", "gdp"),
        ("Adm. publica, educacio", "public_education_health"),
        ("Impost net sobre producte", "net_taxes_on_products"),
        ("Mineria", None),
        ("Altres serveis", None),
        ("IndÃºstria", None),
        ("Ind\ufffdstria", None),
    ],
)
def test_a_sector_is_known_however_its_label_is_written_and_another_one_is_not(label: str, sector: str | None) -> None:
    source = real_gdp.landing.source
    assert isinstance(source, Idescat)
    found = dict(source.dimensions)["SECTOR"].category("X", label)
    assert (found and found[0]) == sector


@pytest.mark.parametrize("nothing", ["\u200b", "\u00a0 \t", "N/A\u200b", "\ufeffnull", " .. ", "NU\u00adLL"])
def test_words_for_no_value_are_recognized_once_normalized(nothing: str) -> None:
    page = pl.DataFrame({"codi": ["S1"], "ciutat": [nothing]})
    assert renamed(page, Named).collect()["name"].to_list() == [None]


def without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def plural(text: str) -> str:
    pairs = (
        ("residència", "residències"),
        ("llar ", "llars "),
        ("centre ", "centres "),
        ("servei ", "serveis "),
        ("pis ", "pisos "),
    )
    more = (
        ("discapacitat", "discapacitats"),
        ("persona ", "persones "),
        ("bàsic ", "bàsics "),
        ("malaltia", "malalties"),
        ("casal ", "casals "),
    )
    text = text[:1].lower() + text[1:]
    for one, many in (*pairs, *more):
        text = text.replace(many, one).replace(one, many)
    return text


WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "without accents": without_accents,
    "upper case without accents": lambda text: without_accents(text).upper(),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "typographic": lambda text: text.replace("'", "’"),
    "with stops": lambda text: text.replace("l·l", "l.l"),
    "plural": plural,
    "singular": lambda text: (
        text.replace("addiccions", "addicció").replace("famílies", "família").replace("bàsics", "bàsic")
    ),
}
GROUPS = {
    "Servei de centre de dia per a gent gran de caràcter temporal o permanent": "elderly_day_centre",
    "Servei de residència assistida per a gent gran de caràcter temporal o permanent": "elderly_residence",
    "Servei de llar residència per a gent gran de caràcter temporal o permanent": "elderly_residence",
    "Servei de tutela per a gent gran": "elderly_other",
    "Servei de llar residència temporal o permanent per a persones amb discapacitat intel·lectual": "disability",
    "Servei experimental (Tutela discapacitats físics-diversa)": "disability",
    "Servei de tutela per a persones amb malaltia mental": "mental_health",
    "Servei de centre de dia per a persones amb addiccions": "addictions",
    "Servei de pis amb suport per a persones amb drogodependències (baixa i alta intensitat)": "addictions",
    "Servei d'atenció a les famílies (amb problemàtica social de risc d'exclusió social)": "children_and_families",
    "Servei de suport als serveis socials bàsics ( Maternoinfantil)": "children_and_families",
    "Centre obert per a infants i adolescents": "children_and_families",
    "Servei bàsic d'atenció social": "basic_services",
    "Servei d'ajuda a domicili": "basic_services",
    "Servei de suport als familiars cuidadors/es i altres cuidadors/es no professionals": "other",
    "Servei de transport adaptat": "other",
}


def groups(types: list[str]) -> list[str | None]:
    """The group of each type by our rules; None where no rule knows it."""
    frame = pl.LazyFrame({"service_type": types})
    return classify(frame, "service_type", social_services._GROUPS, into="group").collect()["group"].to_list()


@pytest.mark.parametrize("written", WRITTEN)
def test_a_type_keeps_its_group_however_it_is_written(written: str) -> None:
    assert groups([WRITTEN[written](text) for text in GROUPS]) == list(GROUPS.values())


@pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA names no folder with the portals' files")
@pytest.mark.parametrize("written", WRITTEN)
def test_all_types_of_the_register_are_known_however_they_are_written(written: str) -> None:
    assert REAL
    document = json.loads(Path(REAL, "codes/service_types.json").read_text(encoding="utf-8"))
    types = [entry["service_type_description"] for entry in document]
    expected = groups(types)
    assert None not in expected
    assert groups([WRITTEN[written](text) for text in types]) == expected


def test_a_type_that_is_new_is_not_known() -> None:
    assert groups(["Servei d'estimulació cognitiva", "Servei", "Residencial", ""]) == [None] * 4


def test_a_change_that_a_guard_refused_is_explained_by_what_was_noted_about_its_rows(shops: Table) -> None:
    shops.make(named(*["Forn de pa"] * 10))
    with pytest.raises(ContractError, match="max_change"):
        shops.make([{**row, "places": 1} for row in named(*["Ferreteria\u00a0Pi"] * 10)])
    failed, shown = (
        shops.project.ledger.last_attempt(shops.key),
        statuses(shops.project.state(), [shops.project.graph[shops.key]])[0],
    )
    assert failed
    assert failed.status == "failed"
    assert failed.drift == "places was text, is a JSON number in 10 rows"
    assert failed.normalized == {"ciutat": 10}
    assert any("no rule of kind knows Ferreteria Pi (10 rows)" in warning for warning in failed.warnings)
    assert shown.warnings == failed.warnings
