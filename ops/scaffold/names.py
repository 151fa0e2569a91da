"""Names for columns and tables: short English where every word is known, else the source's own word in plain letters.

Here: words, and names that Python and both SQL engines accept, each once. Not here: what a column is (`profile.py`).
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 60
TABLE_LONGEST = 40
MOST_WORDS = 3  # more, word by word, are no English

# Frequent words of Catalan and Spanish data sets, without accents. A name is translated only if all of its words are here: half of one
# would be no language at all.
_WORDS = {
    "year": "any anys ano anio exercici ejercicio year",
    "month": "mes mesos month",
    "quarter": "trimestre quarter",
    "semester": "semestre semester",
    "week": "setmana semana week",
    "day": "dia day",
    "hour": "hora hour",
    "date": "data fecha date",
    "time": "time",
    "period": "periode periodo period",
    "start": "inici inicio start",
    "end": "fi fin final end",
    "registration": "inscripcio inscripcion alta",
    "code": "codi codigo cod code",
    "id": "id identificador identifier",
    "number": "numero num number",
    "name": "nom name",  # nombre is a name in Spanish, a number in Catalan
    "title": "titol titulo title",
    "description_text": "descripcio descripcion",
    "type": "tipus tipo tipologia type",
    "category": "categoria category",
    "class_name": "classe clase",
    "group": "grup grupo group",
    "status": "estat estado status",
    "municipality": "municipi municipio municipality mun",
    "comarca": "comarca com",
    "province": "provincia province prov",
    "region": "regio region ambit ambito",
    "territory": "territori territorio territory",
    "country": "pais country",
    "district": "districte distrito district",
    "neighborhood": "barri barrio neighborhood",
    "section": "seccio seccion section",
    "town": "localitat localidad",
    "population": "poblacio poblacion population",
    "address": "adreca direccio direccion domicili domicilio address",
    "street": "carrer calle via street",
    "postal": "postal",
    "latitude": "latitud latitude lat",
    "longitude": "longitud longitude lon long lng",
    "altitude": "altitud altitude",
    "area": "superficie area",
    "density": "densitat densidad density",
    "location": "ubicacio ubicacion localitzacio localizacion",
    "total": "total totals totales",
    "women": "dones mujeres women",
    "men": "homes hombres men",
    "people": "persones personas gent people",
    "elderly": "grans mayores",
    "inhabitants": "habitants habitantes",
    "sex": "sexe sexo sex",
    "age": "edat edad age",
    "value": "valor valors value",
    "unit": "unitat unidad unit",
    "indicator": "indicador indicator",
    "station": "estacio estacion station",
    "services": "serveis servicios services",
    "service": "servei servicio service",
    "centre": "centre centro center",
    "school": "escola escuela school",
    "entity": "entitat entidad ens",
    "company": "empresa company",
    "owner": "titular propietari",
    "organization": "organisme organismo organitzacio",
    "department": "departament departamento",
    "phone": "telefon telefono phone",
    "email": "correu mail email",
    "website": "web pagina url",
    "amount": "import importe amount",
    "price": "preu precio price",
    "places": "places plazas",
    "capacity": "capacitat capacidad",
    "language": "idioma llengua lengua",
    "source": "font fuente",
    "remarks": "observacions observaciones notes",
    "count": "quantitat cantidad recompte",
    "percentage": "percentatge porcentaje",
}
_ENGLISH = {word: english for english, words in _WORDS.items() for word in words.split()}
_FILLERS = frozenset(
    ["de", "del", "dels", "la", "el", "els", "les", "l", "d", "i", "y", "en", "a", "per", "por", "of", "the", "and"]
)
# `codi_municipi` is the code of the municipality: the first word is what it is.
_HEADS = frozenset({"code", "id", "name", "type", "date", "number", "status", "year", "category", "description_text"})
# What no column may be called, because DuckDB or Athena would need quotes around it.
_SQL = frozenset({
    "all", "alter", "and", "any", "array", "as", "asc", "between", "by", "case", "cast", "check", "column",
    "constraint", "create", "cross", "current_date", "current_time", "current_timestamp", "default", "delete",
    "desc", "distinct", "drop", "else", "end", "escape", "except", "exists", "extract", "false", "for", "foreign",
    "from", "full", "grant", "group", "having", "in", "inner", "insert", "intersect", "into", "is", "join",
    "lateral", "left", "like", "limit", "natural", "not", "null", "offset", "on", "or", "order", "outer", "primary",
    "references", "right", "row", "rows", "select", "set", "table", "then", "to", "true", "union", "unique",
    "unnest", "update", "user", "using", "values", "when", "where", "with",
})  # fmt: skip
_LETTERS = str.maketrans(
    {
        "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "·": "", "€": "eur", "%": "_pct",
    }
)  # fmt: skip


def plain(text: str) -> str:
    """A text in lowercase ASCII letters, digits and single underscores: `Població (any)` -> `poblacio_any`; empty if it has none."""
    text = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ][a-zà-ÿ])", "_", text[:1000])  # codiPostal
    letters = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
    return re.sub(r"[^a-z0-9]+", "_", "".join(c for c in letters if not unicodedata.combining(c))).strip("_")


def english(text: str) -> str:
    """A name in English, if all of its words are known; else in plain letters; empty if there are none."""
    name = plain(text)
    words = [word for word in name.split("_") if word and word not in _FILLERS]
    if not 0 < len(words) <= MOST_WORDS or not all(word in _ENGLISH or word.isdigit() for word in words):
        return name
    found = [_ENGLISH.get(word, word) for word in words]
    if found[0] in _HEADS and len(found) > 1 and not found[1].isdigit():
        found = [*found[1:], found[0]]
    return "_".join(found)


def column_names(texts: Sequence[str]) -> list[str]:
    """A name for each column, all different: none is a word of SQL."""
    taken: set[str] = set()
    return [unique(_column(english(text), number), taken) for number, text in enumerate(texts, start=1)]


def attribute_names(texts: Sequence[str], reserved: Iterable[str]) -> list[str]:
    """A name for each text as an attribute of a class, all different; the text itself where it is one.

    `reserved`: names that mean something else there; they get an underscore behind them.
    """
    avoided = {name.lower() for name in reserved} | {"l", "o", "i"}  # the last ones look like digits
    taken: set[str] = set()
    names = [_attribute(text, number) for number, text in enumerate(texts, start=1)]
    return [unique(f"{name}_" if name.lower() in avoided else name, taken) for name in names]


def table_name(title: str) -> str:
    """A name for a table by its title, cut at a word; empty if the title has no letters of ours."""
    name = english(title)
    while len(name) > TABLE_LONGEST and "_" in name:
        name = name.rpartition("_")[0]
    return name[:TABLE_LONGEST].strip("_") if name[:1].isalpha() else ""


def class_name(table: str) -> str:
    """`bus_stops` -> BusStops."""
    return "".join(word.capitalize() for word in table.split("_"))


def unique(name: str, taken: set[str]) -> str:
    """The name, or one with a number behind it that is not taken yet; it is taken from then on."""
    found, number = name, 1
    while found.lower() in taken:
        number += 1
        found = f"{name[: LONGEST - 5]}_{number}"
    taken.add(found.lower())
    return found


def _column(name: str, number: int) -> str:
    name = name[:LONGEST].strip("_") or f"column_{number}"
    if not name[0].isalpha():
        name = f"n_{name}"
    return f"{name}_value" if name in _SQL or keyword.iskeyword(name) else name


def _attribute(text: str, number: int) -> str:
    if re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", text) and not keyword.iskeyword(text) and len(text) <= LONGEST:
        return text if text.islower() or "_" in text or text.isupper() else plain(text)
    name = plain(text)[:LONGEST].strip("_") or f"field_{number}"
    return name if name[0].isalpha() and not keyword.iskeyword(name) else f"f_{name}"
