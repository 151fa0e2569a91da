{#
  The config of an incremental model whose run replaces all rows that share a value of `column` with a row of the run:
  the rows of its day, or the whole history of its municipalities.

  Athena replaces partitions instead: `partitioned_by` names columns of which each value comes with all of its rows.
  They stand last in the model's select.
#}
{% macro replacing(column, partitioned_by) -%}
    {{ return(adapter.dispatch('replacing', 'catalunya')(column, partitioned_by)) }}
{%- endmacro %}

{% macro duckdb__replacing(column, partitioned_by) -%}
    {{ return({'incremental_strategy': 'delete+insert', 'unique_key': column}) }}
{%- endmacro %}

{% macro athena__replacing(column, partitioned_by) -%}
    {{ return({'incremental_strategy': 'insert_overwrite', 'partitioned_by': partitioned_by}) }}
{%- endmacro %}
