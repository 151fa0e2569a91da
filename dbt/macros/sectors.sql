{#
  The sectors of the quarterly accounts: code, parent and level are the accounts' own structure (ESA 2010; NACE sections). The
  name is for where the source gives none.
#}
{% macro accounts_sectors() %}
    select *
    from (
        values
        ('gdp', 'B1GQ', 'Producte interior brut', cast(null as varchar), 1, cast(null as varchar)),
        ('gross_value_added', 'B1G', 'Valor afegit brut', 'gdp', 2, null),
        ('net_taxes_on_products', 'D21X31', 'Impostos nets sobre els productes', 'gdp', 2, null),
        ('agriculture', 'A', 'Agricultura', 'gross_value_added', 3, 'agriculture'),
        ('industry', 'B-E', 'Indústria', 'gross_value_added', 3, 'industry'),
        ('construction', 'F', 'Construcció', 'gross_value_added', 3, 'construction'),
        ('services', 'G-U', 'Serveis', 'gross_value_added', 3, 'services'),
        ('trade_transport_hospitality', 'G-J', 'Comerç, transport i hostaleria', 'services', 4, 'services'),
        ('real_estate_professional_other', 'K-N, R-U', 'Activitats immobiliàries, professionals i altres', 'services', 4, 'services'),
        ('public_education_health', 'O-Q', 'Administració pública, educació, sanitat i serveis socials', 'services', 4, 'services')
    ) as sectors (sector_id, sector_code, sector_name_ca, parent_sector_id, level_number, main_sector_id)
{% endmacro %}


{#
  The sector that each section of a classification of activities belongs to. CCAE-2025 (NACE 2.1) parts J in two, so that
  from L on a letter means what the letter before it meant in CCAE-2009. J goes with trade, and R to U with real estate and
  professional activities, as in the names of the accounts' groups of services; which section is in which group is ours to say.
#}
{% macro sections_sectors() %}
    {%- set letters = {
        'CCAE-2009': {
            'agriculture': 'A',
            'industry': 'BCDE',
            'construction': 'F',
            'trade_transport_hospitality': 'GHIJ',
            'real_estate_professional_other': 'KLMNRSTU',
            'public_education_health': 'OPQ',
        },
        'CCAE-2025': {
            'agriculture': 'A',
            'industry': 'BCDE',
            'construction': 'F',
            'trade_transport_hospitality': 'GHIJK',
            'real_estate_professional_other': 'LMNOSTUV',
            'public_education_health': 'PQR',
        },
    } %}
    {%- set rows = [] %}
    {%- for classification, sectors in letters.items() %}
        {%- for sector, sections in sectors.items() %}
            {%- for section in sections %}
                {%- do rows.append("('" ~ [classification, section, sector] | join("', '") ~ "')") %}
            {%- endfor %}
        {%- endfor %}
    {%- endfor %}
    select *
    from (
        values
        {{ rows | join(',\n        ') }}
    ) as sections (classification, section_id, parent_sector_id)
{% endmacro %}
