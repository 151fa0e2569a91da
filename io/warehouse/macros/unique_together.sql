{# The columns together identify a row. Returns every combination that occurs more than once. #}
{% test unique_together(model, columns) %}
    select
        {{ columns | join(', ') }},
        count(*) as occurrences
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}
