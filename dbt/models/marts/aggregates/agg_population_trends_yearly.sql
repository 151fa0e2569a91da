{{ config(meta={'optional': ['staging.municipality_areas']}) }}

with population as (

    select
        *,
        cast(year_id as bigint) as year_number
    from {{ ref('fact_population_monthly') }}
    where month_id = year_id || '-01'

),

versions as (

    {{ municipality_versions() }}

),

areas as (

    select * from {{ source('staging', 'municipality_areas') }}

),

comarques as (

    select
        date_id,
        comarca_id,
        {{ complete_sum('population') }} as comarca_population,
        {{ known_ratio('population') }} as comarca_population_known_ratio
    from ({{ with_missing_municipalities('population') }}) as municipalities
    group by date_id, comarca_id

)

select
    population.year_number,
    population.municipality_id,
    population.date_id,
    versions.municipality_name,
    population.comarca_id,
    population.comarca_name,
    population.province_id,
    population.population,
    previous.population as previous_population,
    population.population - previous.population as population_change,
    100 * cast(population.population - previous.population as double) / nullif(previous.population, 0) as growth_pct,
    comarques.comarca_population,
    comarques.comarca_population_known_ratio,
    100 * cast(population.population as double) / nullif(comarques.comarca_population, 0) as comarca_share_pct,
    areas.area_km2,
    population.population / nullif(areas.area_km2, 0) as density_per_km2,
    population.is_interpolated,
    population.observation_status
from population
inner join versions
    on population.municipality_id = versions.municipality_id
    and {{ valid_on('versions', 'population.date_id') }}
inner join comarques
    on population.date_id = comarques.date_id
    and population.comarca_id = comarques.comarca_id
left join population as previous
    on population.municipality_id = previous.municipality_id
    and population.year_number = previous.year_number + 1
left join areas
    on population.municipality_id = areas.municipality_id
