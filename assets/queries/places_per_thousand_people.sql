-- How many places of social services there are for a thousand people, by comarca and group of services
with services as (
    select
        comarca_id,
        comarca_name,
        service_group,
        places
    from marts.fact_service_usage_daily
    where date_id = (select max(date_id) from marts.fact_service_usage_daily)
        and places is not null
),
people as (
    select
        comarca_id,
        sum(cast(population as double)) as population
    from marts.fact_population_monthly
    where month_id = (select max(month_id) from marts.fact_population_monthly)
    group by comarca_id
)
select
    services.comarca_name,
    services.service_group,
    services.places,
    round(1000 * services.places / people.population, 2) as places_per_thousand_people
from services
inner join people on services.comarca_id = people.comarca_id
where people.population > 0
order by services.service_group, places_per_thousand_people desc, services.comarca_name
