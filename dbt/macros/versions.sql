{# Whether a version in dim_municipalities (given as the relation's name) was valid on a day. #}
{% macro valid_on(version, day) -%}
    {{ version }}.valid_from <= {{ day }} and ({{ version }}.valid_to is null or {{ day }} < {{ version }}.valid_to)
{%- endmacro %}


{#
  The versions of the municipalities, for facts to join. The first version is extended back to the first day: figures may be older
  than the register's first record of a municipality, and would be lost otherwise.
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
        valid_to
    from {{ ref('dim_municipalities') }}
{% endmacro %}
