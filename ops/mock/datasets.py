"""What the portal's metadata say of the three datasets: names, columns, descriptions, dates of version 0.

Names and field names are the portal's. Rows and faults are elsewhere; the pipeline's own contracts are not used here,
so that the two cannot be wrong in the same way.
"""

from __future__ import annotations

from datetime import UTC, datetime

from catalunya.ops.mock.tables import Column, Dataset

# The register is published anew each night: its version 0 is of today, or every local table would be overdue.
_TODAY = int(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp())

_REGION = (
    "This column was automatically created in order to record in what polygon from the dataset '{}' ({}) the point in "
    "column 'georefer_ncia' is located.  This enables the creation of region maps (choropleths) in the visualization "
    "canvas and data lens."
)

MUNICIPALITIES = Dataset(
    id="9aju-tpwc",
    name="Municipis Catalunya Geo",
    description="Llistat de municipis de Catalunya indicant la comarca a on pertanyen i amb dades de Geolocalització.",
    attribution="Institut d'Estadística de Catalunya (IDESCAT), Institut Cartogràfic i Geològic de Catalunya (ICGC)",
    category="Urbanisme-infraestructures",
    created_at=1614160213,
    updated_at=1734602306,
    key=("codi",),
    columns=(
        Column("codi", "Codi", description="Identificador únic de municipi. És a sis dígits."),
        Column("nom", "Nom", description="Denominació oficial del municipi."),
        Column("codi_comarca", "Codi comarca", description="Identificador de la comarca."),
        Column("nom_comarca", "Nom comarca", description="Denominació de la comarca."),
        Column("utm_x", "UTM X", "number", "Valor de la coordenada X, EPSG:25831 - ETRS89 / UTM31N."),
        Column("utm_y", "UTM Y", "number", "Valor de la coordenada Y, EPSG:25831 - ETRS89 / UTM31N."),
        Column("longitud", "Longitud", "number", "Valor de la longitud, expressat en format decimal."),
        Column("latitud", "Latitud", "number", "Valor de la latitud, expressat en format decimal."),
        Column("georefer_ncia", "Georeferència", "point", "Punt central a on es localitza el municipi."),
        Column(
            ":@computed_region_bh64_c7uy",
            "LIMADM_MUNICIPI",
            "number",
            _REGION.format("LIMADM_MUNICIPI", "bh64-c7uy"),
            required=False,
        ),
        Column(
            ":@computed_region_wvic_k925",
            "LIMADM COMARCA",
            "number",
            _REGION.format("LIMADM COMARCA", "wvic-k925"),
            required=False,
        ),
    ),
)

REGISTER = Dataset(
    id="ivft-vegh",
    name="Registre d'entitats, serveis i establiments socials (serveis socials bàsics i especialitzats)",
    description="Serveis i establiments inscrits al Registre d'entitats, serveis i establiments socials (RESES).",
    attribution="Departament de Drets Socials i Inclusió. Generalitat de Catalunya",
    category="Societat-benestar",
    created_at=1496318400,
    updated_at=_TODAY,
    key=("registre",),
    columns=(
        Column("registre", "Registre", description="Número de registre del servei."),
        Column("nom", "Nom", description="Nom del servei o establiment."),
        Column("tipologia", "Tipologia", description="Tipologia del servei."),
        Column("inscripcio", "Inscripció", description="Data d'inscripció.", required=False),
        Column("capacitat", "Capacitat", "number", "Nombre de places registrades.", required=False),
        Column("adreca", "Adreça", description="Adreça del servei.", required=False),
        Column("municipi", "Municipi", description="Municipi on s'ubica."),
        Column("districte", "Districte", description="Districte, només a Barcelona.", required=False),
        Column("cp", "CP", description="Codi postal.", required=False),
        Column("comarca", "Comarca", description="Comarca on s'ubica.", required=False),
        Column("telefon", "Telèfon", description="Telèfon de contacte.", required=False),
        Column("entitat_titular", "Entitat titular", description="Entitat titular del servei.", required=False),
        Column("qualificacio", "Qualificació", description="Qualificació de l'entitat titular.", required=False),
        Column("nif", "NIF", description="NIF de l'entitat titular.", required=False),
    ),
)

USAGE = Dataset(
    id="yavr-pn8q",
    name="Serveis per a persones amb dependència: centre de dia i residència, per comarques i sexe",
    description="Persones usuàries de centre de dia i de residència per a gent gran, per comarca, sexe i any.",
    attribution="Departament de Drets Socials i Inclusió. Generalitat de Catalunya",
    category="Societat-benestar",
    created_at=1601536200,
    updated_at=1758627600,
    key=("any", "codi"),
    columns=(
        Column("any", "Any", description="Any de referència."),
        Column("codi", "Codi", description="Codi de la comarca."),
        Column("comarca", "Comarca", description="Nom de la comarca."),
        Column("dones_centre_de_dia_gent", "Dones. Centre de dia gent gran", "number", required=False),
        Column("homes_centre_de_dia_gent", "Homes. Centre de dia gent gran", "number", required=False),
        Column("total_centre_de_dia_gent", "Total. Centre de dia gent gran", "number", required=False),
        Column("dones_resid_ncia_gent_gran", "Dones. Residència gent gran", "number"),
        Column("homes_resid_ncia_gent_gran", "Homes. Residència gent gran", "number"),
        Column("total_resid_ncia_gent_gran", "Total. Residència gent gran", "number"),
        Column("dones_total", "Dones. Total", "number"),
        Column("homes_total", "Homes. Total", "number"),
        Column("total", "Total", "number"),
    ),
)

DATASETS = (MUNICIPALITIES, REGISTER, USAGE)
