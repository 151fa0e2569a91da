{#
  The config of an incremental model that replaces every published row whose `column` has a value among the new rows:
  the rows of a day, or the whole history of a province. Only a model whose history its sources cannot give again is
  incremental: the others are built whole from what their sources have, and drop what these no longer have.

  Athena replaces partitions instead: for each value of the columns in `partitioned_by`, the new rows must be complete. These columns
  come last in the model's select.
#}
{% macro replacing(column, partitioned_by) -%}
    {{ return(adapter.dispatch('replacing')(column, partitioned_by)) }}
{%- endmacro %}

{% macro duckdb__replacing(column, partitioned_by) -%}
    {{ return({'materialized': 'incremental', 'incremental_strategy': 'delete+insert', 'unique_key': column}) }}
{%- endmacro %}

{% macro athena__replacing(column, partitioned_by) -%}
    {{ return({'materialized': 'incremental', 'incremental_strategy': 'insert_overwrite', 'partitioned_by': partitioned_by}) }}
{%- endmacro %}
