"""Words of the register of social services: kinds of service, names, streets and those who run them.

Word lists only, in the register's own wording and with its irregularities. How rows are made of them stands in
generate_register.py. Telephone numbers and tax numbers are made up there and belong to nobody.
"""

from __future__ import annotations

from typing import NamedTuple


class ServiceType(NamedTuple):
    """A kind of service: how often it occurs, how many places it has (both 0: none), what its name begins with."""

    description: str
    weight: int
    least: int
    most: int
    prefix: str


_ID = "persones amb discapacitat intel·lectual"
_SM = "persones amb problemàtica social derivada de malaltia mental"
_TP = "temporal o permanent"

SERVICE_TYPES: tuple[ServiceType, ...] = (
    ServiceType(f"Servei de residència assistida per a gent gran de caràcter {_TP}", 22, 12, 180, "Residència"),
    ServiceType(f"Servei de centre de dia per a gent gran de caràcter {_TP}", 20, 8, 60, "Centre de dia"),
    ServiceType(f"Servei de llar residència per a gent gran de caràcter {_TP}", 5, 10, 60, "Llar residència"),
    ServiceType(f"Servei d' habitatge tutelat per a gent gran de caràcter {_TP}", 4, 4, 40, "Habitatges tutelats"),
    ServiceType("Servei d'ajuda a domicili", 9, 0, 0, "Servei d'ajuda a domicili"),
    ServiceType("Servei bàsic d'atenció social", 8, 0, 0, "Servei bàsic d'atenció social"),
    ServiceType(
        f"Servei de llar residència {_TP} per a {_ID}",
        4,
        5,
        30,
        "Llar residència per a persones amb discapacitat intel·lectual",
    ),
    ServiceType(f"Servei de centre residencial {_TP} per a {_ID}", 2, 20, 90, "Centre residencial"),
    ServiceType(f"Servei de llar amb suport per a {_ID}", 3, 2, 12, "Llar amb suport"),
    ServiceType(f"Servei de llar amb suport {_TP} per a {_SM}", 2, 3, 12, "Llar"),
    ServiceType(f"Servei de llar residència {_TP} per a {_SM}", 1, 10, 40, "Llar residència"),
    ServiceType(
        "Servei de centre de dia de teràpia ocupacional per a persones amb discapacitat intel·lectual (STO)",
        3,
        10,
        120,
        "Centre ocupacional",
    ),
    ServiceType(
        "Servei de centre de dia ocupacional d'inserció per a persones amb discapacitat intel·lectual (SOI)",
        2,
        8,
        60,
        "Servei ocupacional d'inserció",
    ),
    ServiceType(
        f"Servei de centre de dia d'atenció especialitzada {_TP} per a {_ID}",
        2,
        10,
        60,
        "Centre d'atenció especialitzada",
    ),
    ServiceType(
        f"Servei de centre de dia d'atenció especialitzada {_TP} per a persones amb discapacitat física",
        1,
        10,
        45,
        "Centre d'atenció especialitzada",
    ),
    ServiceType(
        "Servei de suport a l'autonomia a la pròpia llar per a persones amb discapacitat intel·lectual",
        2,
        0,
        0,
        "Suport a la pròpia llar",
    ),
    ServiceType(f"Servei de suport a l'autonomia a la pròpia llar per a {_SM}", 1, 0, 0, "Suport a la pròpia llar"),
    ServiceType("Servei de centre de dia per a persones amb addiccions", 1, 6, 30, "Centre de dia"),
    ServiceType(
        "Servei de pis amb suport per a persones amb drogodependències (baixa i alta intensitat)",
        1,
        4,
        14,
        "Pis amb suport",
    ),
    ServiceType("Servei de club social (mòdul A / mòdul B)", 1, 15, 80, "Club social"),
    ServiceType("Servei prelaboral", 1, 10, 50, "Servei prelaboral"),
    ServiceType("Servei d'atenció precoç", 2, 0, 0, "Centre de desenvolupament infantil i atenció precoç"),
    ServiceType("Servei d'acolliment residencial d'urgència", 1, 6, 40, "Centre d'acolliment"),
    ServiceType("Servei de menjador social", 1, 0, 0, "Menjador"),
    ServiceType("Servei de tutela per a gent gran", 1, 0, 0, "Servei de tutela"),
    ServiceType("Servei de tutela per a persones amb discapacitat intel·lectual", 1, 0, 0, "Servei de tutela"),
    ServiceType("Servei de les tecnologies de suport i cura", 1, 0, 0, "Servei de teleassistència"),
    ServiceType("Servei experimental (Tutela discapacitats físics-diversa)", 1, 0, 0, "Servei experimental"),
)

NAMES: tuple[str, ...] = (
    "Sant Jordi", "El Roure", "Les Acàcies", "Mare de Déu de Montserrat", "Verge de la Salut", "Santa Rosalia",
    "La Calma", "Vila Montgrí", "El Trampolí", "Marejol", "Font del Lleó", "Can Torras", "Cal Ferrer", "L'Onada",
    "Els Tarongers", "La Solana", "Bon Repòs", "Sant Rafael", "Santa Teresa", "Mas Sauró", "La Muntanyeta", "Can Boada",
    "El Molí", "Les Garrigues", "Vora Mar", "Josep Carner", "Mercè Rodoreda", "Joan Maragall", "Àngel Guimerà",
    "Pau Casals", "Dolors Aleu", "Nostra Llar", "La Pineda", "L'Olivera", "El Pi Gros", "Les Moreres", "La Sínia",
    "Can Serra", "Puig d'en Roca", "Sant Hilari", "La Rosaleda", "Els Arcs", "El Vilar", "La Caseta", "Ca n'Ametller",
    "Sagrada Família", "L'Estel", "Albada", "Ponent", "Llevant", 'Casal "La Unió"', 'Fundació "Amics"', "HAPPY",
    "Sant Camil", "Santa Oliva", "Els Josepets", "La Torre", "El Mirador", "L'Ermita", "Quatre Vents",
)  # fmt: skip

STREETS: tuple[str, ...] = tuple(
    f"{kind} {name}"
    for kind in ("C. ", "Carrer", "Av.", "Avinguda", "Pça.", "Pg.", "Ctra.", "Camí")
    for name in (
        "Major", "de Balmes", "de Sant Antoni", "de la Creu Alta", "d'Antoni Gaudí", "del Doctor Fleming", "de Catalunya",
        "de l'Església", "de les Escoles", "de Pau Claris", "de la Font Vella", "del Mestre Falla", "dels Països Catalans",
        "de Lluís Companys", "de Santa Eulàlia", "de la Indústria", "del Raval de Sant Pere", "de Verdaguer",
        "de l'Onze de Setembre", "de Ramon Llull", "de la Riera", "de Francesc Macià", "d'en Borrell", "del Castell",
    )
)  # fmt: skip

FLOORS: tuple[str, ...] = ("", "", "", ", baixos", ", 1r", ", 1r 2a", ", 2n 1a", ", entresol", " s/n", ", local 2")

PUBLIC = "Entitat d'iniciativa pública"
SOCIAL = "Entitat privada d'iniciativa social"
COMMERCIAL = "Entitat privada d'iniciativa mercantil"

# What an operator's name is made of, its qualification, the first letter of its tax number.
OPERATORS: tuple[tuple[str, str, str], ...] = (
    ("{name} Gestió de Serveis, SL", COMMERCIAL, "B"),
    ("Residencial {name}, SA", COMMERCIAL, "A"),
    ("Grup Assistencial {name}, SLU", COMMERCIAL, "B"),
    ("Geriàtric {name}, SL", COMMERCIAL, "B"),
    ("Fundació Privada {name}", SOCIAL, "G"),
    ("Associació {name} pro persones amb discapacitat intel·lectual", SOCIAL, "G"),
    ("Cooperativa d'Iniciativa Social {name}, SCCL", SOCIAL, "F"),
    ("Congregació de Germanes de {name}", SOCIAL, "R"),
    ("Consorci de Serveis Socials {name}", PUBLIC, "Q"),
    ("Organisme Autònom Local {name}", PUBLIC, "P"),
)

# Municipalities that no list of today has: rows that cannot be matched. The comarca is what such rows say.
UNMATCHED: tuple[tuple[str, str, str], ...] = (
    ("Medinyà", "Gironès", "17482"),
    ("Palmerola", "Ripollès", "17514"),
    ("Sense municipi", "Barcelonès", "08000"),
    ("Sant Jordi del Riu Sec", "Vallès Occidental", "08299"),
)
