{# The whole quotient of two integers that are not negative, whether the engine's `/` divides integers or doubles. #}
{% macro quotient(number, by) -%}
    cast((({{ number }}) - mod({{ number }}, {{ by }})) / {{ by }} as bigint)
{%- endmacro %}


{#
  Easter Sunday by year, as a query of year_number and easter_sunday. `years` is a relation with the bigint year_number.
  The Gregorian computus of Meeus, Jones and Butcher, in their letters.
#}
{% macro easter_sundays(years) %}
    select
        year_number,
        cast({{ dbt.dateadd('day', 'h + l - 7 * m', "cast(cast(year_number as varchar) || '-03-22' as date)") }} as date) as easter_sunday
    from (
        select
            year_number,
            h,
            l,
            {{ quotient('a + 11 * h + 22 * l', 451) }} as m
        from (
            select
                year_number,
                a,
                h,
                mod(32 + 2 * e + 2 * i - h - k, 7) as l
            from (
                select
                    year_number,
                    a,
                    mod(b, 4) as e,
                    mod(19 * a + b - {{ quotient('b', 4) }} - {{ quotient('b - f + 1', 3) }} + 15, 30) as h,
                    {{ quotient('c', 4) }} as i,
                    mod(c, 4) as k
                from (
                    select
                        year_number,
                        a,
                        b,
                        c,
                        {{ quotient('b + 8', 25) }} as f
                    from (
                        select
                            year_number,
                            mod(year_number, 19) as a,
                            {{ quotient('year_number', 100) }} as b,
                            mod(year_number, 100) as c
                        from {{ years }}
                    ) as year_parts
                ) as century_parts
            ) as moon_parts
        ) as week_parts
    ) as parts
{% endmacro %}
