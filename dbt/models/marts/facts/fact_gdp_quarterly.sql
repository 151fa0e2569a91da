{{ config(**replacing('quarter_id', partitioned_by=['year_id'])) }}

with figures as (

    select
        quarter_id,
        sector_id,
        max(case when price_basis = 'current' then figure end) as gdp_eur_millions,
        max(case when price_basis = 'volume' then figure end) as volume_index,
        max(case when price_basis = 'current' then observation_status end) as current_status,
        max(case when price_basis = 'volume' then observation_status end) as volume_status,
        max(updated_date) as revision_date
    from {{ source('staging', 'gdp') }}
    where (price_basis = 'current' and measure = 'value')
        or (price_basis = 'volume' and measure = 'index')
    group by quarter_id, sector_id

),

told as (

    select
        quarter_id,
        sector_id,
        gdp_eur_millions,
        volume_index,
        {{ less_firm('current_status', 'volume_status') }} as observation_status,
        revision_date
    from figures

),

{% if is_incremental() %}

-- What was told before. A revision of the same day, or of a later one that the source took back, gives way to what it says now.
earlier as (

    select
        published.quarter_id,
        published.sector_id,
        published.gdp_eur_millions,
        published.volume_index,
        published.observation_status,
        published.revision_date,
        published.is_latest,
        told.sector_id is not null as is_told_anew,
        row_number() over (
            partition by published.quarter_id, published.sector_id order by published.revision_date desc
        ) = 1
        and published.gdp_eur_millions is not distinct from told.gdp_eur_millions
        and published.volume_index is not distinct from told.volume_index
        and published.observation_status is not distinct from told.observation_status as is_what_is_told
    from {{ this }} as published
    left join told
        on published.quarter_id = told.quarter_id
        and published.sector_id = told.sector_id
    where told.sector_id is null
        or published.revision_date < told.revision_date

),

{% endif %}

revisions as (

    {% if is_incremental() %}
    -- The same figures under a newer date are no revision, and a first figure where there was none is none either.
    select
        quarter_id,
        sector_id,
        gdp_eur_millions,
        volume_index,
        observation_status,
        revision_date,
        is_latest and not is_told_anew as is_latest
    from earlier
    where not is_told_anew
        or (not is_what_is_told and observation_status <> 'missing')

    union all
    {% endif %}

    select
        quarter_id,
        sector_id,
        gdp_eur_millions,
        volume_index,
        observation_status,
        revision_date,
        true as is_latest
    from told

)

select
    quarter_id,
    sector_id,
    revision_date,
    is_latest,
    {{ first_day_of_quarter('quarter_id') }} as date_id,
    gdp_eur_millions,
    volume_index,
    observation_status,
    substr(quarter_id, 1, 4) as year_id
from revisions
