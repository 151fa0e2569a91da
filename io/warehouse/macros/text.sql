{#
  A name for comparison only: names that differ in Unicode composition, case, white space, apostrophes or the way to write l·l are
  the same. An accent, a hyphen or another letter is a difference. The engine removes these characters; what it calls composition
  and "all occurrences" differs.
#}
{% macro folded(name) -%}
    {{ return(adapter.dispatch('folded')(name)) }}
{%- endmacro %}

{# White space, invisible characters, apostrophes and middle dots, as a regular expression. #}
{% macro _unwritten() -%}
    {{ return("[\\s\u0085\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff''\u2018\u2019\u201b\u02b9\u02bc\u2032\u00b4`.\u00b7\u0387\u2022\u2027\u2219\u22c5\u30fb]") }}
{%- endmacro %}

{% macro duckdb__folded(name) -%}
    regexp_replace(replace(lower(nfc_normalize({{ name }})), '{{ "\u0140" }}', 'l'), '{{ _unwritten() }}', '', 'g')
{%- endmacro %}

{% macro athena__folded(name) -%}
    regexp_replace(replace(lower(normalize({{ name }}, nfc)), '{{ "\u0140" }}', 'l'), '{{ _unwritten() }}', '')
{%- endmacro %}
