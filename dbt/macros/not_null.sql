{# dbt's own test gives only the empty column; the whole row says which one it is. #}
{% macro default__test_not_null(model, column_name) %}
    select *
    from {{ model }}
    where {{ column_name }} is null
{% endmacro %}
