{# The first day of a quarter such as 2026-Q3. #}
{% macro first_day_of_quarter(quarter_id) -%}
    cast(
        substr({{ quarter_id }}, 1, 4) || case substr({{ quarter_id }}, 7, 1)
            when '1' then '-01-01'
            when '2' then '-04-01'
            when '3' then '-07-01'
            when '4' then '-10-01'
        end as date
    )
{%- endmacro %}


{# A running number of quarters such as 2026-Q3: the next quarter has one more, the same quarter of the next year four more. #}
{% macro quarter_count(quarter_id) -%}
    cast(substr({{ quarter_id }}, 1, 4) as bigint) * 4 + cast(substr({{ quarter_id }}, 7, 1) as bigint)
{%- endmacro %}
