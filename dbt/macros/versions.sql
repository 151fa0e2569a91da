{# The first day of the calendar, and of every history. #}
{% macro first_day() -%}
    cast('1990-01-01' as date)
{%- endmacro %}


{# For how many days the source may lack a municipality before its current version is closed. #}
{% macro grace_days() -%}
    14
{%- endmacro %}


{# The first day on which a municipality that has been missing since a day (a date or null) is no longer valid. #}
{% macro end_of_grace(missing_since) -%}
    cast({{ dbt.dateadd('day', grace_days(), missing_since) }} as date)
{%- endmacro %}


{# Whether a version in dim_municipalities (given as the relation's name) was valid on a day. #}
{% macro valid_on(version, day) -%}
    {{ version }}.valid_from <= {{ day }} and ({{ version }}.valid_to is null or {{ day }} < {{ version }}.valid_to)
{%- endmacro %}


{#
  The versions of the municipalities, for facts to join, without gaps: the first is extended back to the first day, and each on to the
  next one. Figures may be older than the register's first record of a municipality, or newer than its last, and would be lost otherwise.
#}
{% macro municipality_versions() %}
    select
        municipality_id,
        municipality_name,
        comarca_id,
        comarca_name,
        province_id,
        case
            when row_number() over (partition by municipality_id order by valid_from) = 1 then {{ first_day() }}
            else valid_from
        end as valid_from,
        lead(valid_from) over (partition by municipality_id order by valid_from) as valid_to
    from {{ ref('dim_municipalities') }}
{% endmacro %}


{#
  The rows of `figures` (a relation with date_id, municipality_id, comarca_id and population), and one without a figure for each
  municipality that the dimension has on one of those days and `figures` has not: what a sum must not be taken without.
#}
{% macro with_missing_municipalities(figures) %}
    select
        date_id,
        municipality_id,
        comarca_id,
        population
    from {{ figures }}

    union all

    select
        days.date_id,
        versions.municipality_id,
        versions.comarca_id,
        cast(null as bigint) as population
    from (select distinct date_id from {{ figures }}) as days
    inner join {{ ref('dim_municipalities') }} as versions
        on {{ valid_on('versions', 'days.date_id') }}
    left join {{ figures }} as known
        on days.date_id = known.date_id
        and versions.municipality_id = known.municipality_id
    where known.municipality_id is null
{% endmacro %}
