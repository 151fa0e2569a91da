with population as (

    select * from {{ source('staging', 'population') }}

),

months as (

    select
        date_id,
        month_id,
        cast(year_number as varchar) as year_id
    from {{ ref('dim_time') }}
    where day_of_month = 1

),

versions as (

    {{ municipality_versions() }}

),

observed as (

    select
        municipality_id,
        observed_date,
        max(case when sex = 'total' then population end) as population,
        max(case when sex = 'female' then population end) as women,
        max(case when sex = 'male' then population end) as men,
        max(case when sex = 'total' then observation_status end) as observation_status,
        max(case when sex = 'total' then population_source end) as population_source
    from population
    group by municipality_id, observed_date

),

-- From one known figure to the next, across half-years without a figure.
spans as (

    select
        municipality_id,
        observed_date as first_date,
        population,
        women,
        men,
        observation_status,
        population_source,
        lead(observed_date) over (partition by municipality_id order by observed_date) as next_date,
        lead(population) over (partition by municipality_id order by observed_date) as next_population,
        lead(women) over (partition by municipality_id order by observed_date) as next_women,
        lead(men) over (partition by municipality_id order by observed_date) as next_men,
        lead(observation_status) over (partition by municipality_id order by observed_date) as next_status,
        lead(population_source) over (partition by municipality_id order by observed_date) as next_source
    from observed
    where population is not null

),

-- The source's total is not interpolated across gaps: it is there to check the sum of the municipalities.
total_spans as (

    select
        observed_date as first_date,
        max(catalonia_population) as catalonia_population,
        lead(observed_date) over (order by observed_date) as next_date,
        lead(max(catalonia_population)) over (order by observed_date) as next_catalonia_population
    from population
    where sex = 'total'
    group by observed_date

),

-- There are no rows for months after the last figure.
placed as (

    select
        months.date_id,
        months.month_id,
        months.year_id,
        spans.municipality_id,
        spans.population,
        spans.women,
        spans.men,
        spans.observation_status,
        spans.population_source,
        spans.next_population,
        spans.next_women,
        spans.next_men,
        spans.next_status,
        spans.next_source,
        {{ dbt.datediff('spans.first_date', 'months.date_id', 'month') }} as step,
        {{ dbt.datediff('spans.first_date', 'spans.next_date', 'month') }} as steps
    from spans
    inner join months
        on months.date_id >= spans.first_date
        and months.date_id < coalesce(spans.next_date, cast({{ dbt.dateadd('day', 1, 'spans.first_date') }} as date))

),

totals as (

    select
        date_id,
        case
            when step = 0 then catalonia_population
            else {{ interpolated('catalonia_population', 'next_catalonia_population', 'step', 'steps') }}
        end as catalonia_population
    from (
        select
            months.date_id,
            total_spans.catalonia_population,
            total_spans.next_catalonia_population,
            {{ dbt.datediff('total_spans.first_date', 'months.date_id', 'month') }} as step,
            {{ dbt.datediff('total_spans.first_date', 'total_spans.next_date', 'month') }} as steps
        from total_spans
        inner join months
            on months.date_id >= total_spans.first_date
            and months.date_id < coalesce(
                total_spans.next_date, cast({{ dbt.dateadd('day', 1, 'total_spans.first_date') }} as date)
            )
    ) as placed_totals

),

estimated as (

    select
        date_id,
        month_id,
        year_id,
        municipality_id,
        men,
        next_men,
        step,
        case
            when step = 0 then population
            else {{ interpolated('population', 'next_population', 'step', 'steps') }}
        end as population,
        case
            when step = 0 then women
            else {{ interpolated('women', 'next_women', 'step', 'steps') }}
        end as women,
        step > 0 as is_interpolated,
        case
            when step = 0 then observation_status
            else {{ combined_status('observation_status', 'next_status') }}
        end as observation_status,
        case
            when step = 0 or population_source = next_source then population_source
            else population_source || ' and ' || next_source
        end as population_source
    from placed

)

select
    estimated.month_id,
    estimated.municipality_id,
    estimated.date_id,
    versions.comarca_id,
    versions.comarca_name,
    versions.province_id,
    estimated.population,
    estimated.women,
    -- An estimate's men are the rest, so that women and men add up to the population, which rounding each would not ensure.
    case
        when estimated.step = 0 then estimated.men
        when estimated.men is not null and estimated.next_men is not null then estimated.population - estimated.women
    end as men,
    estimated.is_interpolated,
    estimated.observation_status,
    totals.catalonia_population,
    estimated.population_source,
    estimated.year_id
from estimated
inner join versions
    on estimated.municipality_id = versions.municipality_id
    and {{ valid_on('versions', 'estimated.date_id') }}
left join totals
    on estimated.date_id = totals.date_id
