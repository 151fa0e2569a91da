"""Places: the 43 comarques, some sixty municipalities by their true codes, and the words of invented ones.

Public facts and word lists only. How municipalities are generated from them stands in generate_municipalities.py.
An invented municipality bears a number from 400 to 899 within its province, which no real one does.
"""

from __future__ import annotations

from typing import NamedTuple


class Comarca(NamedTuple):
    """A comarca: `municipalities` counts them by province, `longitude` and `latitude` are about its middle."""

    code: str
    name: str
    municipalities: dict[str, int]
    longitude: float
    latitude: float


COMARQUES: tuple[Comarca, ...] = tuple(
    Comarca(f"{number:02}", name, counts, longitude, latitude)
    for number, (name, counts, longitude, latitude) in enumerate(
        (
            ("Alt Camp", {"43": 23}, 1.28, 41.30),
            ("Alt Empordà", {"17": 68}, 2.98, 42.28),
            ("Alt Penedès", {"08": 27}, 1.70, 41.39),
            ("Alt Urgell", {"25": 19}, 1.42, 42.26),
            ("Alta Ribagorça", {"25": 3}, 0.75, 42.46),
            ("Anoia", {"08": 33}, 1.59, 41.60),
            ("Bages", {"08": 30}, 1.83, 41.77),
            ("Baix Camp", {"43": 28}, 1.00, 41.17),
            ("Baix Ebre", {"43": 14}, 0.58, 40.85),
            ("Baix Empordà", {"17": 36}, 3.07, 41.99),
            ("Baix Llobregat", {"08": 30}, 1.98, 41.41),
            ("Baix Penedès", {"43": 14}, 1.53, 41.26),
            ("Barcelonès", {"08": 5}, 2.19, 41.41),
            ("Berguedà", {"08": 30, "25": 1}, 1.86, 42.13),
            ("Cerdanya", {"17": 11, "25": 6}, 1.84, 42.39),
            ("Conca de Barberà", {"43": 22}, 1.20, 41.46),
            ("Garraf", {"08": 6}, 1.75, 41.25),
            ("Garrigues", {"25": 24}, 0.84, 41.44),
            ("Garrotxa", {"17": 21}, 2.58, 42.18),
            ("Gironès", {"17": 27}, 2.85, 41.99),
            ("Maresme", {"08": 30}, 2.48, 41.57),
            ("Montsià", {"43": 12}, 0.50, 40.67),
            ("Noguera", {"25": 30}, 0.92, 41.84),
            ("Osona", {"08": 39, "17": 3}, 2.27, 41.96),
            ("Pallars Jussà", {"25": 14}, 0.93, 42.20),
            ("Pallars Sobirà", {"25": 15}, 1.18, 42.52),
            ("Pla d'Urgell", {"25": 16}, 0.90, 41.65),
            ("Pla de l'Estany", {"17": 11}, 2.78, 42.13),
            ("Priorat", {"43": 23}, 0.79, 41.20),
            ("Ribera d'Ebre", {"43": 14}, 0.62, 41.13),
            ("Ripollès", {"17": 19}, 2.23, 42.28),
            ("Segarra", {"25": 19}, 1.30, 41.70),
            ("Segrià", {"25": 38}, 0.57, 41.58),
            ("Selva", {"08": 1, "17": 25}, 2.68, 41.83),
            ("Solsonès", {"25": 17}, 1.51, 41.98),
            ("Tarragonès", {"43": 22}, 1.30, 41.17),
            ("Terra Alta", {"43": 12}, 0.38, 41.05),
            ("Urgell", {"25": 20}, 1.08, 41.63),
            ("Aran", {"25": 9}, 0.75, 42.77),
            ("Vallès Occidental", {"08": 23}, 2.07, 41.56),
            ("Vallès Oriental", {"08": 39}, 2.31, 41.64),
            ("Moianès", {"08": 10}, 2.09, 41.79),
            ("Lluçanès", {"08": 8}, 2.09, 42.03),
        ),
        start=1,
    )
)

BARCELONA = "080193"

# Code, name as the Generalitat writes it (article last), comarca.
REAL_MUNICIPALITIES: tuple[tuple[str, str, str], ...] = tuple(
    (line[:6], line[10:], line[7:9])
    for line in """
431613 01 Valls
170669 02 Figueres
170622 02 Escala, l'
171523 02 Roses
083054 03 Vilafranca del Penedès
252038 04 Seu d'Urgell, la
251734 05 Pont de Suert, el
081022 06 Igualada
081136 07 Manresa
431233 08 Reus
431554 09 Tortosa
430136 09 Ametlla de Mar, l'
170221 10 Bisbal d'Empordà, la
171997 10 Torroella de Montgrí
171175 10 Palafrugell
171181 10 Palamós
170486 10 Castell d'Aro, Platja d'Aro i s'Agaró
082114 11 Sant Feliu de Llobregat
081691 11 Prat de Llobregat, el
080734 11 Cornellà de Llobregat
082009 11 Sant Boi de Llobregat
083015 11 Viladecans
080569 11 Castelldefels
431634 12 Vendrell, el
080193 13 Barcelona
081017 13 Hospitalet de Llobregat, l'
080155 13 Badalona
082457 13 Santa Coloma de Gramenet
081944 13 Sant Adrià de Besòs
080229 14 Berga
171411 15 Puigcerdà
430862 16 Montblanc
083073 17 Vilanova i la Geltrú
250582 18 Borges Blanques, les
171143 19 Olot
170792 20 Girona
081213 21 Mataró
081189 21 Masnou, el
430141 22 Amposta
250404 23 Balaguer
082981 24 Vic
252347 25 Tremp
252094 26 Sort
251370 27 Mollerussa
170157 28 Banyoles
430555 29 Falset
430939 30 Móra d'Ebre
171479 31 Ripoll
250729 32 Cervera
251207 33 Lleida
171805 34 Santa Coloma de Farners
170237 34 Blanes
252075 35 Solsona
431482 36 Tarragona
439057 36 Salou
430640 37 Gandesa
252173 38 Tàrrega
252430 39 Vielha e Mijaran
081878 40 Sabadell
082798 40 Terrassa
081846 40 Rubí
082055 40 Sant Cugat del Vallès
080961 41 Granollers
080885 41 Garriga, la
081249 41 Mollet del Vallès
081056 41 Llagosta, la
081385 42 Moià
081712 43 Prats de Lluçanès
""".strip().splitlines()
)

# An invented name is one of the first with one of the second: "Sant Martí de Ribanova", "Pobla d'Olivars, la".
FIRST_NAMES: tuple[str, ...] = (
    "Sant Galderic {de}", "Sant Pancraç {de}", "Santa Llogaia {de}", "Santa Maura {de}", "Sant Mamet {de}",
    "Torrenova {de}", "Vilassera {de}", "Castellfred {de}", "Fontfosca {de}", "Puigtort {de}", "Masos {de}, els",
    "Pobleta {de}, la", "Coll {de}, el", "Hostalets {de}, els", "Espluga Alta {de}, l'", "Cabanes {de}, les",
)  # fmt: skip
SECOND_NAMES: tuple[str, ...] = (
    "Ribanova", "Olivars", "Montserè", "Valldaura", "Roquesblanques", "Alzinar", "Fontclara", "Serrallarga",
    "Pinós Vell", "Aiguaviva de Dalt", "Riufred", "Camprodó", "Romaní", "Garrofers", "Vallombria", "Solanes",
    "Bosquerol", "Estanyols", "Freixenar", "Moreral", "Ginebró", "Avellaners", "Rocafesa", "Marinada", "Llevantí",
    "Ponentada", "Gregalet", "Tramuntanal", "Cantacorbs", "Pedrafosca", "Argilers", "Guixeres", "Salzeda",
    "Verneda Alta", "Canyamars Vell", "Margallons", "Espigoler", "Ordials", "Farigolar", "Sorralt", "Cimalta",
    "Torrentets", "Clotderiu", "Esquirolar", "Llopart", "Falziots", "Merlanda", "Pinsans", "Tudonar", "Xoriguers",
    "Eugassers", "Isardal", "Daiola", "Guineuar", "Perdigal", "Òlibes", "Truitell", "Llúdriga", "Cérvola", "Rossinyolar",
)  # fmt: skip
