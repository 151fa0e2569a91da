{{ config(materialized='incremental', **replacing('municipality_id', partitioned_by=['province_id'])) }}

with functional_areas as (

    select * from {{ ref('functional_areas') }}

),

municipalities as (

    select * from {{ source('staging', 'municipalities') }}

),

{% if is_incremental() %}

published as (

    select * from {{ this }}

),

-- The date of a change: the day of the run, but never before a change already recorded, which would rewrite history.
today as (

    select
        greatest(
            {{ as_of() }},
            coalesce(max(valid_from), {{ as_of() }}),
            coalesce(max(valid_to), {{ as_of() }})
        ) as day_of_change
    from published

),

-- The history before that day: versions opened or closed by an earlier run of the same day are decided again, so that running a
-- day twice gives the same as running it once.
known as (

    select
        published.municipality_id,
        published.municipality_name,
        published.comarca_id,
        published.comarca_name,
        published.province_name,
        published.longitude_deg,
        published.latitude_deg,
        published.valid_from,
        case when published.valid_to < today.day_of_change then published.valid_to end as valid_to,
        published.province_id
    from published
    cross join today
    where published.valid_from < today.day_of_change

),

-- Current versions that are still valid: same name, same comarca.
unchanged as (

    select
        municipalities.municipality_id,
        municipalities.longitude_deg,
        municipalities.latitude_deg
    from municipalities
    inner join known
        on municipalities.municipality_id = known.municipality_id
        and municipalities.municipality_name = known.municipality_name
        and municipalities.comarca_id = known.comarca_id
        and municipalities.comarca_name = known.comarca_name
    where known.valid_to is null

),

earlier_versions as (

    select
        known.municipality_id,
        known.municipality_name,
        known.comarca_id,
        known.comarca_name,
        -- A corrected position is not a change of the municipality: it is updated without a new version.
        coalesce(unchanged.longitude_deg, known.longitude_deg) as longitude_deg,
        coalesce(unchanged.latitude_deg, known.latitude_deg) as latitude_deg,
        known.valid_from,
        case
            when known.valid_to is not null then known.valid_to
            when unchanged.municipality_id is null then today.day_of_change
        end as valid_to,
        known.province_id
    from known
    cross join today
    left join unchanged
        on known.municipality_id = unchanged.municipality_id
        and known.valid_to is null

),

{% endif %}

new_versions as (

    select
        municipalities.municipality_id,
        municipalities.municipality_name,
        municipalities.comarca_id,
        municipalities.comarca_name,
        municipalities.longitude_deg,
        municipalities.latitude_deg,
        {% if is_incremental() %}
        today.day_of_change as valid_from,
        {% else %}
        {{ first_day() }} as valid_from,
        {% endif %}
        cast(null as date) as valid_to,
        municipalities.province_id
    from municipalities
    {% if is_incremental() %}
    cross join today
    left join unchanged
        on municipalities.municipality_id = unchanged.municipality_id
    where unchanged.municipality_id is null
    {% endif %}

),

versions as (

    {% if is_incremental() %}
    select * from earlier_versions
    union all
    {% endif %}
    select * from new_versions

)

select
    versions.municipality_id,
    versions.municipality_name,
    versions.comarca_id,
    versions.comarca_name,
    case versions.province_id
        when '08' then 'Barcelona'
        when '17' then 'Girona'
        when '25' then 'Lleida'
        when '43' then 'Tarragona'
    end as province_name,
    functional_areas.functional_area_id,
    functional_areas.functional_area_name,
    versions.longitude_deg,
    versions.latitude_deg,
    versions.valid_from,
    versions.valid_to,
    versions.valid_to is null as is_current,
    versions.province_id
from versions
left join functional_areas
    on versions.comarca_id = functional_areas.comarca_id
