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

    select * from {{ ref('municipality_areas') }}

),

comarques as (

    select
        year_number,
        comarca_id,
        cast(sum(population) as bigint) as comarca_population
    from population
    group by year_number, comarca_id

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
    100 * cast(population.population as double) / nullif(comarques.comarca_population, 0) as comarca_share_pct,
    areas.area_km2,
    population.population / areas.area_km2 as density_per_km2,
    population.is_interpolated,
    population.observation_status
from population
inner join versions
    on population.municipality_id = versions.municipality_id
    and {{ valid_on('versions', 'population.date_id') }}
inner join comarques
    on population.year_number = comarques.year_number
    and population.comarca_id = comarques.comarca_id
left join population as previous
    on population.municipality_id = previous.municipality_id
    and population.year_number = previous.year_number + 1
left join areas
    on population.municipality_id = areas.municipality_id
