{#
  In a month for which the source has a figure for every municipality, the municipalities add up to the source's total; in a month
  between two of those, they differ from it by rounding at most. Months without a total, or without a municipality's figure, are not
  checked. This is a warning, because the source may revise its total separately.
#}
{{ config(severity='warn') }}

with population as (

    select * from {{ ref('fact_population_monthly') }}

),

observations as (

    select
        observed_date,
        count(*) = count(population) and count(catalonia_population) > 0 as is_complete
    from {{ source('staging', 'population') }}
    where sex = 'total'
    group by observed_date

),

bridged as (

    select distinct date_id
    from population
    where is_interpolated

),

spans as (

    select
        observations.observed_date,
        observations.is_complete and bridged.date_id is null as is_complete,
        lead(observations.observed_date) over (order by observations.observed_date) as next_date,
        lead(observations.is_complete and bridged.date_id is null) over (order by observations.observed_date)
            as is_next_complete
    from observations
    left join bridged
        on observations.observed_date = bridged.date_id

),

months as (

    select
        date_id,
        cast(sum(population) as bigint) as municipalities_population,
        max(catalonia_population) as catalonia_population,
        count(*) as municipalities
    from population
    group by date_id

)

select
    months.date_id,
    months.municipalities_population,
    months.catalonia_population
from months
inner join spans
    on months.date_id >= spans.observed_date
    and months.date_id < coalesce(spans.next_date, cast({{ dbt.dateadd('day', 1, 'spans.observed_date') }} as date))
where spans.is_complete
    and (
        (months.date_id = spans.observed_date and months.municipalities_population <> months.catalonia_population)
        or (
            months.date_id > spans.observed_date
            and spans.is_next_complete
            and abs(months.municipalities_population - months.catalonia_population) * 2 > months.municipalities + 1
        )
    )
order by months.date_id
