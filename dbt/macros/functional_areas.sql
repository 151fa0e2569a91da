{#
  The eight territorial functional areas (àmbits funcionals territorials) by comarca; codes and names are Idescat's. Some
  municipalities of Anoia opted for Comarques Centrals: by comarca they count as Penedès.
#}
{% macro functional_areas() -%}
    {{ return([
        ('AT01', 'Metropolità', ['11', '13', '21', '40', '41']),
        ('AT02', 'Comarques Gironines', ['02', '10', '19', '20', '28', '31', '34']),
        ('AT03', 'Camp de Tarragona', ['01', '08', '16', '29', '36']),
        ('AT04', "Terres de l'Ebre", ['09', '22', '30', '37']),
        ('AT05', 'Ponent', ['18', '23', '27', '32', '33', '38']),
        ('AT06', 'Comarques Centrals', ['07', '14', '24', '35', '42', '43']),
        ('AT07', 'Alt Pirineu i Aran', ['04', '05', '15', '25', '26', '39']),
        ('AT08', 'Penedès', ['03', '06', '12', '17']),
    ]) }}
{%- endmacro %}


{# The code of the area that a comarca (a column of two-digit codes) is in. #}
{% macro functional_area_id(comarca) -%}
    {{ _by_comarca(comarca, 0) }}
{%- endmacro %}


{# The name of that area. #}
{% macro functional_area_name(comarca) -%}
    {{ _by_comarca(comarca, 1) }}
{%- endmacro %}


{% macro _by_comarca(comarca, field) -%}
    case
        {%- for area in functional_areas() %}
        when {{ comarca }} in ('{{ area[2] | join("', '") }}') then '{{ area[field] | replace("'", "''") }}'
        {%- endfor %}
    end
{%- endmacro %}
