-- Which comarques grow: people on 1 January of the newest year and of the year before
select
    comarca_name,
    year_number,
    cast(sum(population) as bigint) as population,
    cast(sum(population_change) as bigint) as population_change,
    round(100 * sum(cast(population_change as double)) / sum(cast(previous_population as double)), 2) as growth_pct
from marts.agg_population_trends_yearly
where year_number = (select max(year_number) from marts.agg_population_trends_yearly)
    and previous_population > 0
group by comarca_name, year_number
order by growth_pct desc, comarca_name
