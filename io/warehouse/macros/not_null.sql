{# dbt's own test selects only the null column; the whole row shows which row it is. #}
{% macro default__test_not_null(model, column_name) %}
    select *
    from {{ model }}
    where {{ column_name }} is null
{% endmacro %}
