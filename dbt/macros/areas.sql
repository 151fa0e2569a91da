{#
  Areas of municipalities in km², where they are certain. None of the sources gives areas: these are Idescat's (El municipi en
  xifres, "Superfície"). A municipality that is not here has no density; add it with the figure of that page.
#}
{% macro municipality_areas() %}
    select *
    from (
        values
        ('080155', cast(21.18 as double)), -- Badalona
        ('080193', cast(101.35 as double)), -- Barcelona
        ('081017', cast(12.40 as double)), -- l'Hospitalet de Llobregat
        ('081213', cast(22.53 as double)), -- Mataró
        ('081878', cast(37.79 as double)), -- Sabadell
        ('082055', cast(48.23 as double)), -- Sant Cugat del Vallès
        ('082457', cast(7.00 as double)), -- Santa Coloma de Gramenet
        ('082798', cast(70.10 as double)), -- Terrassa
        ('170792', cast(39.12 as double)), -- Girona
        ('251207', cast(211.70 as double)), -- Lleida
        ('431233', cast(52.82 as double)), -- Reus
        ('431482', cast(55.60 as double)) -- Tarragona
    ) as areas (municipality_id, area_km2)
{% endmacro %}
