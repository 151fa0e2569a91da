{# The status of two figures together: that of the less final one. A missing figure does not change the status of the other. #}
{% macro combined_status(one, other) -%}
    case
        when {{ one }} = 'advance' or {{ other }} = 'advance' then 'advance'
        when {{ one }} = 'provisional' or {{ other }} = 'provisional' then 'provisional'
        when {{ one }} = 'final' or {{ other }} = 'final' then 'final'
        else 'missing'
    end
{%- endmacro %}


{# Linear interpolation: the whole number at `step` of `steps` between two numbers; halves are rounded up. #}
{% macro interpolated(first, last, step, steps) -%}
    cast(round(cast({{ first }} as double) + cast({{ last }} - {{ first }} as double) * {{ step }} / {{ steps }}) as bigint)
{%- endmacro %}
