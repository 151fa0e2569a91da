{# Whether a version of dim_municipalities (the name of its relation) held on a day. #}
{% macro held_on(version, day) -%}
    {{ version }}.valid_from <= {{ day }} and ({{ version }}.valid_to is null or {{ day }} < {{ version }}.valid_to)
{%- endmacro %}


{#
  The versions of the municipalities as facts join them. What is known of a municipality before its first version (the
  source of figures may know it sooner than the register of municipalities does) goes with that version, and is not lost.
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
