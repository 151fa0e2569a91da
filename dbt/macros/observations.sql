{# How firm two figures are together: the status of the less firm one. What is missing says nothing of the other. #}
{% macro less_firm(one, other) -%}
    case
        when {{ one }} = 'advance' or {{ other }} = 'advance' then 'advance'
        when {{ one }} = 'provisional' or {{ other }} = 'provisional' then 'provisional'
        when {{ one }} = 'final' or {{ other }} = 'final' then 'final'
        else 'missing'
    end
{%- endmacro %}


{# The whole number at `step` of `steps` on the straight line from one number to the other; halves are rounded up. #}
{% macro on_the_line(first, last, step, steps) -%}
    cast(round(cast({{ first }} as double) + cast({{ last }} - {{ first }} as double) * {{ step }} / {{ steps }}) as bigint)
{%- endmacro %}
