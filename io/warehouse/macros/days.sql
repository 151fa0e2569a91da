{# The day of the run. Models use it and never the clock, so that the same input gives the same table. #}
{% macro as_of() -%}
    cast('{{ var("as_of") }}' as date)
{%- endmacro %}


{# All days from `first` to `last` (dates, both inclusive, up to 150 years) as a query of one column, date_id. #}
{% macro days_between(first, last) %}
    select date_id
    from (
        select cast({{ dbt.dateadd('day', 'cast(generated_number as bigint) - 1', first) }} as date) as date_id
        from ({{ dbt.generate_series(54787) }}) as numbers
    ) as days
    where date_id <= {{ last }}
{% endmacro %}


{# 1 for Monday to 7 for Sunday, as bigint. #}
{% macro iso_day_of_week(day) -%}
    {{ return(adapter.dispatch('iso_day_of_week')(day)) }}
{%- endmacro %}

{% macro duckdb__iso_day_of_week(day) -%}
    cast(isodow({{ day }}) as bigint)
{%- endmacro %}

{% macro athena__iso_day_of_week(day) -%}
    cast(day_of_week({{ day }}) as bigint)
{%- endmacro %}
