"""What the floor and the peers know of the register: rows of a page, and the group of a type of service by its words."""

from __future__ import annotations

PAGE = 50_000
GROUPS = {
    "elderly_day_centre": "centre de dia per a gent gran",
    "elderly_residence": "(residència|llar residència).* per a gent gran",
    "elderly_other": "gent gran",
    "disability": "discapacitat",
    "mental_health": "malaltia mental|salut mental",
    "addictions": "addiccions|drogodependències",
    "children_and_families": "inf[aà]n|adolescent|jove|famíli",
    "basic_services": "bàsic|ajuda a domicili|domiciliària",
}
