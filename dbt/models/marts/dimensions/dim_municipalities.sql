{{ config(meta={'clock': 'day'}, **replacing('province_id', partitioned_by=['province_id'])) }}

with functional_areas as (

    select * from {{ ref('functional_areas') }}

),

comarca_changes as (

    select * from {{ ref('comarca_changes') }}

),

municipalities as (

    select
        *,
        {{ folded('municipality_name') }} as folded_name,
        {{ folded('comarca_name') }} as folded_comarca
    from {{ source('staging', 'municipalities') }}

),

{% if is_incremental() %}

published as (

    select
        *,
        -- The day of the run that closed the version: the grace period passed then, or the municipality changed.
        case
            when valid_to = missing_since_date then {{ end_of_grace('missing_since_date') }}
            else valid_to
        end as closed_date
    from {{ this }}

),

-- The date of a change: the day of the run, but never before a change already recorded, which would rewrite history.
today as (

    select
        greatest(
            {{ as_of() }},
            coalesce(max(valid_from), {{ as_of() }}),
            coalesce(max(closed_date), {{ as_of() }}),
            coalesce(max(missing_since_date), {{ as_of() }})
        ) as day_of_change
    from published

),

-- The history before that day: what an earlier run of the same day opened, closed or missed is decided again, so that running a day
-- twice gives the same as running it once.
known as (

    select
        published.municipality_id,
        published.municipality_name,
        published.comarca_id,
        published.comarca_name,
        published.longitude_deg,
        published.latitude_deg,
        published.valid_from,
        case when published.closed_date < today.day_of_change then published.valid_to end as valid_to,
        case
            when published.missing_since_date < today.day_of_change then published.missing_since_date
        end as missing_since_date,
        published.province_id
    from published
    cross join today
    where published.valid_from < today.day_of_change

),

-- Current versions that are still valid: the same name and comarca, however written.
unchanged as (

    select municipalities.*
    from municipalities
    inner join known
        on municipalities.municipality_id = known.municipality_id
        and municipalities.comarca_id = known.comarca_id
        and municipalities.folded_name = {{ folded('known.municipality_name') }}
        and municipalities.folded_comarca = {{ folded('known.comarca_name') }}
    where known.valid_to is null

),

earlier_versions as (

    select
        known.municipality_id,
        -- A corrected position or spelling is not a change of the municipality: it is updated without a new version.
        coalesce(unchanged.municipality_name, known.municipality_name) as municipality_name,
        known.comarca_id,
        coalesce(unchanged.comarca_name, known.comarca_name) as comarca_name,
        coalesce(unchanged.longitude_deg, known.longitude_deg) as longitude_deg,
        coalesce(unchanged.latitude_deg, known.latitude_deg) as latitude_deg,
        known.valid_from,
        case
            when known.valid_to is not null then known.valid_to
            when unchanged.municipality_id is not null then cast(null as date)
            when municipalities.municipality_id is not null then today.day_of_change
            when {{ end_of_grace('known.missing_since_date') }} <= today.day_of_change then known.missing_since_date
        end as valid_to,
        case
            when known.valid_to is not null then known.missing_since_date
            when unchanged.municipality_id is not null then cast(null as date)
            when municipalities.municipality_id is not null then known.missing_since_date
            else coalesce(known.missing_since_date, today.day_of_change)
        end as missing_since_date,
        known.province_id
    from known
    cross join today
    left join municipalities
        on known.municipality_id = municipalities.municipality_id
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
        cast(null as date) as missing_since_date,
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

),

-- Documented changes within the oldest version of their municipality. Once they are in the history, that version ends before them.
documented as (

    select
        comarca_changes.*,
        comarca_changes.comarca_id = coalesce(
            lead(comarca_changes.former_comarca_id) over (
                partition by comarca_changes.municipality_id order by comarca_changes.change_date
            ),
            versions.comarca_id
        ) as leads_on
    from comarca_changes
    inner join versions
        on comarca_changes.municipality_id = versions.municipality_id
        and versions.valid_from = {{ first_day() }}
        and comarca_changes.change_date > versions.valid_from
        and comarca_changes.change_date < coalesce(versions.valid_to, cast({{ dbt.dateadd('day', 1, as_of()) }} as date))

),

-- A change is used if the municipality was then in the comarca it changed to: if not, neither it nor those before it can be right.
changes as (

    select
        municipality_id,
        change_date,
        former_comarca_id,
        former_comarca_name,
        lag(change_date) over (partition by municipality_id order by change_date) as previous_date,
        lead(change_date) over (partition by municipality_id order by change_date) as next_date
    from (
        select
            *,
            min(case when leads_on then 1 else 0 end) over (
                partition by municipality_id
                order by change_date desc
                rows between unbounded preceding and current row
            ) as is_used
        from documented
    ) as checked
    where is_used = 1

),

history as (

    select
        versions.municipality_id,
        versions.municipality_name,
        versions.comarca_id,
        versions.comarca_name,
        versions.longitude_deg,
        versions.latitude_deg,
        coalesce(changes.change_date, versions.valid_from) as valid_from,
        versions.valid_to,
        versions.missing_since_date,
        versions.province_id
    from versions
    left join changes
        on versions.municipality_id = changes.municipality_id
        and versions.valid_from = {{ first_day() }}
        and changes.next_date is null

    union all

    select
        versions.municipality_id,
        versions.municipality_name,
        changes.former_comarca_id as comarca_id,
        changes.former_comarca_name as comarca_name,
        versions.longitude_deg,
        versions.latitude_deg,
        coalesce(changes.previous_date, versions.valid_from) as valid_from,
        changes.change_date as valid_to,
        cast(null as date) as missing_since_date,
        versions.province_id
    from versions
    inner join changes
        on versions.municipality_id = changes.municipality_id
        and versions.valid_from = {{ first_day() }}

)

select
    history.municipality_id,
    history.municipality_name,
    history.comarca_id,
    history.comarca_name,
    case history.province_id
        when '08' then 'Barcelona'
        when '17' then 'Girona'
        when '25' then 'Lleida'
        when '43' then 'Tarragona'
    end as province_name,
    functional_areas.functional_area_id,
    functional_areas.functional_area_name,
    history.longitude_deg,
    history.latitude_deg,
    history.valid_from,
    history.valid_to,
    history.valid_to is null as is_current,
    history.missing_since_date,
    history.province_id
from history
left join functional_areas
    on history.comarca_id = functional_areas.comarca_id
