{# The sum of whole numbers, null unless all of them are known: a sum without some of its figures looks like one that fell. #}
{% macro complete_sum(figure) -%}
    case when count({{ figure }}) = count(*) then cast(sum({{ figure }}) as bigint) end
{%- endmacro %}


{# The share of a group's figures that are known: 1 where its complete_sum is. #}
{% macro known_ratio(figure) -%}
    cast(count({{ figure }}) as double) / count(*)
{%- endmacro %}
