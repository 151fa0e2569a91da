{{ config(meta={'optional': ['staging.employment']}) }}

with gdp as (

    select
        *,
        {{ quarter_count('quarter_id') }} as quarter_count
    from {{ ref('fact_gdp_quarterly') }}
    where is_latest

),

months as (

    select
        date_id,
        month_id,
        quarter_id
    from {{ ref('dim_time') }}
    where day_of_month = 1

),

population as (

    select * from {{ ref('fact_population_monthly') }}

),

-- The source's total where it publishes one, else the sum of the municipalities if all are known.
monthly_population as (

    select
        sums.date_id,
        coalesce(totals.catalonia_population, sums.population) as population,
        case when totals.catalonia_population is null then sums.known_ratio else cast(1 as double) end as known_ratio
    from (
        select
            date_id,
            {{ complete_sum('population') }} as population,
            {{ known_ratio('population') }} as known_ratio
        from ({{ with_missing_municipalities('population') }}) as municipalities
        group by date_id
    ) as sums
    inner join (
        select
            date_id,
            max(catalonia_population) as catalonia_population
        from population
        group by date_id
    ) as totals
        on sums.date_id = totals.date_id

),

quarterly_population as (

    select
        months.quarter_id,
        case when count(monthly_population.population) = 3 then avg(cast(monthly_population.population as double)) end
            as population,
        sum(coalesce(monthly_population.known_ratio, 0)) / count(*) as known_ratio
    from months
    left join monthly_population
        on months.date_id = monthly_population.date_id
    group by months.quarter_id

),

sectors as (

    select * from {{ ref('dim_economic_sectors') }}

),

-- Each section with its parent sectors up to GDP: the hierarchy has at most five levels.
ancestors as (

    select
        sections.sector_id as section_id,
        sections.parent_sector_id as parent_1,
        sectors_1.parent_sector_id as parent_2,
        sectors_2.parent_sector_id as parent_3,
        sectors_3.parent_sector_id as parent_4
    from sectors as sections
    left join sectors as sectors_1
        on sections.parent_sector_id = sectors_1.sector_id
    left join sectors as sectors_2
        on sectors_1.parent_sector_id = sectors_2.sector_id
    left join sectors as sectors_3
        on sectors_2.parent_sector_id = sectors_3.sector_id
    where sections.classification <> 'GDP'

),

memberships as (

    {%- for number in range(1, 5) %}

    select
        section_id,
        parent_{{ number }} as sector_id
    from ancestors
    where parent_{{ number }} is not null
    {%- if not loop.last %}

    union all
    {%- endif %}
    {%- endfor %}

),

-- The figures of each regime: no table of the source has the jobs of both.
regime_jobs as (

    select
        quarter_id,
        observed_date,
        regime,
        classification,
        classification || ':' || section_id as section_id,
        comarca_id,
        jobs
    from {{ source('staging', 'employment') }}

),

regimes as (

    select 'general' as regime

    union all

    select 'self_employed' as regime

),

-- A quarter's jobs use one classification: the newer one, if it has both.
classified as (

    select
        quarter_id,
        classification,
        lag(classification) over (order by quarter_id) as previous_classification
    from (
        select
            quarter_id,
            max(classification) as classification
        from regime_jobs
        where jobs is not null
        group by quarter_id
    ) as quarters

),

-- The comarques that a quarter has figures of or should have: those that exist on the day of the count, and that the source has had
-- so far. A table has all its comarques in all quarters, those that did not exist yet without figures.
comarques as (

    select
        quarter_id,
        classification,
        comarca_id
    from regime_jobs
    where jobs is not null

    union

    select
        counts.quarter_id,
        counts.classification,
        first_quarters.comarca_id
    from (select distinct quarter_id, observed_date, classification from regime_jobs) as counts
    inner join (
        select
            classification,
            comarca_id,
            min(quarter_id) as quarter_id
        from regime_jobs
        group by classification, comarca_id
    ) as first_quarters
        on counts.classification = first_quarters.classification
        and counts.quarter_id >= first_quarters.quarter_id
    inner join {{ ref('dim_municipalities') }} as versions
        on first_quarters.comarca_id = versions.comarca_id
        and {{ valid_on('versions', 'counts.observed_date') }}

),

-- One row per quarter, comarca, regime and section of its classification, with or without a figure, and sector that it belongs to.
sector_jobs as (

    select
        classified.quarter_id,
        classified.classification,
        classified.previous_classification,
        memberships.sector_id,
        regime_jobs.jobs
    from classified
    inner join comarques
        on classified.quarter_id = comarques.quarter_id
        and classified.classification = comarques.classification
    cross join regimes
    inner join sectors
        on classified.classification = sectors.classification
    inner join memberships
        on sectors.sector_id = memberships.section_id
    left join regime_jobs
        on comarques.quarter_id = regime_jobs.quarter_id
        and comarques.comarca_id = regime_jobs.comarca_id
        and regimes.regime = regime_jobs.regime
        and sectors.sector_id = regime_jobs.section_id

),

quarterly_jobs as (

    select
        quarter_id,
        sector_id,
        classification,
        previous_classification,
        {{ complete_sum('jobs') }} as jobs,
        cast(sum(jobs) as bigint) as known_jobs,
        {{ known_ratio('jobs') }} as known_ratio
    from sector_jobs
    group by quarter_id, sector_id, classification, previous_classification

)

select
    gdp.quarter_id,
    gdp.sector_id,
    gdp.date_id,
    gdp.gdp_eur_millions,
    100 * gdp.gdp_eur_millions / nullif(total.gdp_eur_millions, 0) as gdp_share_pct,
    100 * (gdp.volume_index / nullif(previous_quarter.volume_index, 0) - 1) as quarterly_growth_pct,
    100 * (gdp.volume_index / nullif(previous_year.volume_index, 0) - 1) as yearly_growth_pct,
    gdp.observation_status,
    quarterly_population.population,
    quarterly_population.known_ratio as population_known_ratio,
    gdp.gdp_eur_millions * 1000000 / nullif(quarterly_population.population, 0) as gdp_per_head_eur,
    quarterly_jobs.jobs,
    quarterly_jobs.known_jobs,
    quarterly_jobs.known_ratio as jobs_known_ratio,
    1000 * quarterly_jobs.jobs / nullif(quarterly_population.population, 0) as jobs_per_thousand_people,
    quarterly_jobs.classification as employment_classification,
    coalesce(quarterly_jobs.classification <> quarterly_jobs.previous_classification, false) as is_classification_break
from gdp
left join gdp as total
    on gdp.quarter_id = total.quarter_id
    and total.sector_id = 'gdp'
left join gdp as previous_quarter
    on gdp.sector_id = previous_quarter.sector_id
    and gdp.quarter_count = previous_quarter.quarter_count + 1
left join gdp as previous_year
    on gdp.sector_id = previous_year.sector_id
    and gdp.quarter_count = previous_year.quarter_count + 4
left join quarterly_population
    on gdp.quarter_id = quarterly_population.quarter_id
left join quarterly_jobs
    on gdp.quarter_id = quarterly_jobs.quarter_id
    and gdp.sector_id = quarterly_jobs.sector_id
