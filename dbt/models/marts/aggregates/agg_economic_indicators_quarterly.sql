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

-- The source's total where it publishes one, else the sum of the municipalities.
monthly_population as (

    select
        date_id,
        coalesce(max(catalonia_population), cast(sum(population) as bigint)) as population
    from {{ ref('fact_population_monthly') }}
    group by date_id

),

quarterly_population as (

    select
        months.quarter_id,
        avg(cast(monthly_population.population as double)) as population
    from monthly_population
    inner join months
        on monthly_population.date_id = months.date_id
    group by months.quarter_id
    having count(*) = 3

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

monthly_jobs as (

    select
        month_id,
        classification,
        classification || ':' || section_id as section_id,
        cast(sum(jobs) as bigint) as jobs
    from {{ source('staging', 'employment') }}
    where jobs is not null
    group by month_id, classification, section_id

),

-- A quarter's jobs use one classification: the newer one, if its months have both.
classified as (

    select
        quarter_id,
        classification,
        lag(classification) over (order by quarter_id) as previous_classification
    from (
        select
            months.quarter_id,
            max(monthly_jobs.classification) as classification
        from monthly_jobs
        inner join months
            on monthly_jobs.month_id = months.month_id
        group by months.quarter_id
    ) as quarters

),

monthly_sector_jobs as (

    select
        classified.quarter_id,
        classified.classification,
        classified.previous_classification,
        memberships.sector_id,
        months.month_id,
        sum(monthly_jobs.jobs) as jobs
    from monthly_jobs
    inner join months
        on monthly_jobs.month_id = months.month_id
    inner join classified
        on months.quarter_id = classified.quarter_id
        and monthly_jobs.classification = classified.classification
    inner join memberships
        on monthly_jobs.section_id = memberships.section_id
    group by
        classified.quarter_id,
        classified.classification,
        classified.previous_classification,
        memberships.sector_id,
        months.month_id

),

quarterly_jobs as (

    select
        quarter_id,
        sector_id,
        classification,
        previous_classification,
        avg(cast(jobs as double)) as jobs,
        cast(count(*) as bigint) as jobs_months
    from monthly_sector_jobs
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
    gdp.gdp_eur_millions * 1000000 / nullif(quarterly_population.population, 0) as gdp_per_head_eur,
    quarterly_jobs.jobs,
    quarterly_jobs.jobs_months,
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
