"""Words in the API's three languages, so far as they are translated here; what is not is said in Catalan in all."""

from __future__ import annotations

LANGUAGES = ("ca", "es", "en")

_TRANSLATED = {
    "semestre": ("semestre", "half-year"),
    "trimestre": ("trimestre", "quarter"),
    "mes": ("mes", "month"),
    "any": ("año", "year"),
    "municipi": ("municipio", "municipality"),
    "comarca": ("comarca", "county"),
    "sexe": ("sexo", "sex"),
    "homes": ("hombres", "men"),
    "dones": ("mujeres", "women"),
    "total": ("total", "total"),
    "concepte": ("concepto", "concept"),
    "població": ("población", "population"),
    "Catalunya": ("Cataluña", "Catalonia"),
    "sector": ("sector", "sector"),
    "secció": ("sección", "section"),
    "afiliacions": ("afiliaciones", "affiliations"),
    "milions d'euros": ("millones de euros", "millions of euros"),
    "índex": ("índice", "index"),
    "variació intertrimestral (%)": ("variación intertrimestral (%)", "quarter-on-quarter change (%)"),
    "variació interanual (%)": ("variación interanual (%)", "year-on-year change (%)"),
    "Producte interior brut": ("Producto interior bruto", "Gross domestic product"),
    "Valor afegit brut": ("Valor añadido bruto", "Gross value added"),
    "Agricultura": ("Agricultura", "Agriculture"),
    "Indústria": ("Industria", "Industry"),
    "Construcció": ("Construcción", "Construction"),
    "Serveis": ("Servicios", "Services"),
    "Impostos nets sobre productes": ("Impuestos netos sobre productos", "Net taxes on products"),
    "Dada provisional": ("Dato provisional", "Provisional data"),
    "Dada avançada": ("Dato avanzado", "Advance data"),
    "dada confidencial, de baixa fiabilitat o no disponible": (
        "dato confidencial, de baja fiabilidad o no disponible",
        "confidential, unreliable or not available data",
    ),
    "Municipis": ("Municipios", "Municipalities"),
    "Per municipis": ("Por municipios", "By municipality"),
    "Comarques i Aran": ("Comarcas y Aran", "Counties and Aran"),
    "Per comarques i Aran": ("Por comarcas y Aran", "By county and Aran"),
    "Estadístiques disponibles": ("Estadísticas disponibles", "Available statistics"),
    "Error intern.": ("Error interno.", "Internal error."),
    "Estadística inexistent.": ("Estadística inexistente.", "Unknown statistics."),
    "Node inexistent.": ("Nodo inexistente.", "Unknown node."),
    "Taula inexistent.": ("Tabla inexistente.", "Unknown table."),
    "Divisió territorial inexistent.": ("División territorial inexistente.", "Unknown geographic division."),
    "Nombre màxim de dades superat.": ("Número máximo de datos superado.", "Maximum number of data exceeded."),
    "Paràmetre _LAST_ incorrecte.": ("Parámetro _LAST_ incorrecto.", "Wrong _LAST_ parameter."),
}


def language(asked: str | None) -> str:
    """The language of an answer: the one asked for, or Catalan. That an unknown one gives Catalan is a choice."""
    return asked if asked in LANGUAGES else "ca"


def say(text: str, lang: str) -> str:
    """A Catalan text in another language."""
    if lang == "ca" or text not in _TRANSLATED:
        return text
    return _TRANSLATED[text][LANGUAGES.index(lang) - 1]
