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

current_figures as (

    select
        quarter_id,
        sector_id,
        gdp_eur_millions,
        volume_index,
        {{ combined_status('current_status', 'volume_status') }} as observation_status,
        revision_date
    from figures

),

{% if is_incremental() %}

-- Revisions published earlier. One with the same or a later date, which the source has withdrawn, is replaced by the current figures.
earlier as (

    select
        published.quarter_id,
        published.sector_id,
        published.gdp_eur_millions,
        published.volume_index,
        published.observation_status,
        published.revision_date,
        current_figures.sector_id is not null as is_published_again,
        row_number() over (
            partition by published.quarter_id, published.sector_id order by published.revision_date desc
        ) = 1
        and published.gdp_eur_millions is not distinct from current_figures.gdp_eur_millions
        and published.volume_index is not distinct from current_figures.volume_index
        and published.observation_status is not distinct from current_figures.observation_status as is_unchanged
    from {{ this }} as published
    left join current_figures
        on published.quarter_id = current_figures.quarter_id
        and published.sector_id = current_figures.sector_id
    where current_figures.sector_id is null
        or published.revision_date < current_figures.revision_date

),

{% endif %}

revisions as (

    {% if is_incremental() %}
    -- The same figures with a newer date are not a revision, and neither is a first figure after a missing one.
    select
        quarter_id,
        sector_id,
        gdp_eur_millions,
        volume_index,
        observation_status,
        revision_date,
        false as is_latest,
        not is_published_again as is_withdrawn
    from earlier
    where not is_published_again
        or (not is_unchanged and observation_status <> 'missing')

    union all
    {% endif %}

    select
        quarter_id,
        sector_id,
        gdp_eur_millions,
        volume_index,
        observation_status,
        revision_date,
        true as is_latest,
        false as is_withdrawn
    from current_figures

)

select
    quarter_id,
    sector_id,
    revision_date,
    is_latest,
    is_withdrawn,
    {{ first_day_of_quarter('quarter_id') }} as date_id,
    gdp_eur_millions,
    volume_index,
    observation_status,
    substr(quarter_id, 1, 4) as year_id
from revisions
