{# No two versions of a municipality are valid on the same day: a fact would have its row twice. #}
with versions as (

    select
        *,
        lead(valid_from) over (partition by municipality_id order by valid_from) as next_from
    from {{ ref('dim_municipalities') }}

)

select *
from versions
where next_from < valid_to
    or (next_from is not null and valid_to is null)
