-- Which municipalities lost the most people since they were first counted here
with first_and_last as (
    select
        municipality_id,
        min(year_number) as first_year,
        max(year_number) as last_year
    from marts.agg_population_trends_yearly
    group by municipality_id
)
select
    last_count.municipality_name,
    last_count.comarca_name,
    first_count.year_number as first_year,
    last_count.year_number as last_year,
    first_count.population as first_population,
    last_count.population as last_population,
    last_count.population - first_count.population as population_change
from first_and_last
inner join marts.agg_population_trends_yearly as last_count
    on first_and_last.municipality_id = last_count.municipality_id
    and first_and_last.last_year = last_count.year_number
inner join marts.agg_population_trends_yearly as first_count
    on first_and_last.municipality_id = first_count.municipality_id
    and first_and_last.first_year = first_count.year_number
where last_count.population < first_count.population
order by population_change, last_count.municipality_name
