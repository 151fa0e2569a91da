{{ config(meta={'clock': 'year'}) }}

with days as (

    -- The calendar ends with the year after the run's, so that facts of this year always find their day.
    {{ days_between(
        first_day(),
        "cast(cast(extract(year from " ~ as_of() ~ ") + 1 as varchar) || '-12-31' as date)"
    ) }}

),

numbered as (

    select
        date_id,
        cast(extract(year from date_id) as bigint) as year_number,
        cast(extract(quarter from date_id) as bigint) as quarter_number,
        cast(extract(month from date_id) as bigint) as month_number,
        cast(extract(day from date_id) as bigint) as day_of_month,
        {{ iso_day_of_week('date_id') }} as day_of_week
    from days

),

years as (

    select distinct year_number
    from numbered

),

easter as (

    {{ easter_sundays('years') }}

),

-- The movable holidays are Easter's; none of them ever falls on a fixed one.
named as (

    select
        numbered.*,
        case
            when numbered.date_id = cast({{ dbt.dateadd('day', -2, 'easter.easter_sunday') }} as date) then 'Divendres Sant'
            when numbered.date_id = cast({{ dbt.dateadd('day', 1, 'easter.easter_sunday') }} as date) then 'Dilluns de Pasqua Florida'
            else case numbered.month_number * 100 + numbered.day_of_month
                when 101 then 'Cap d''Any'
                when 106 then 'Reis'
                when 501 then 'Festa del Treball'
                when 624 then 'Sant Joan'
                when 815 then 'L''Assumpció'
                when 911 then 'Diada Nacional de Catalunya'
                when 1012 then 'Festa Nacional d''Espanya'
                when 1101 then 'Tots Sants'
                when 1206 then 'Dia de la Constitució'
                when 1208 then 'La Immaculada'
                when 1225 then 'Nadal'
                when 1226 then 'Sant Esteve'
            end
        end as public_holiday_name_ca
    from numbered
    inner join easter
        on numbered.year_number = easter.year_number

)

select
    date_id,
    cast(year_number as varchar) || '-' || lpad(cast(month_number as varchar), 2, '0') as month_id,
    cast(year_number as varchar) || '-Q' || cast(quarter_number as varchar) as quarter_id,
    cast(year_number as varchar) || case when quarter_number <= 2 then '-H1' else '-H2' end as half_year_id,
    year_number,
    quarter_number,
    month_number,
    day_of_month,
    day_of_week,
    day_of_week >= 6 as is_weekend,
    case month_number
        when 1 then 'gener'
        when 2 then 'febrer'
        when 3 then 'març'
        when 4 then 'abril'
        when 5 then 'maig'
        when 6 then 'juny'
        when 7 then 'juliol'
        when 8 then 'agost'
        when 9 then 'setembre'
        when 10 then 'octubre'
        when 11 then 'novembre'
        when 12 then 'desembre'
    end as month_name_ca,
    case month_number
        when 1 then 'enero'
        when 2 then 'febrero'
        when 3 then 'marzo'
        when 4 then 'abril'
        when 5 then 'mayo'
        when 6 then 'junio'
        when 7 then 'julio'
        when 8 then 'agosto'
        when 9 then 'septiembre'
        when 10 then 'octubre'
        when 11 then 'noviembre'
        when 12 then 'diciembre'
    end as month_name_es,
    case month_number
        when 1 then 'January'
        when 2 then 'February'
        when 3 then 'March'
        when 4 then 'April'
        when 5 then 'May'
        when 6 then 'June'
        when 7 then 'July'
        when 8 then 'August'
        when 9 then 'September'
        when 10 then 'October'
        when 11 then 'November'
        when 12 then 'December'
    end as month_name_en,
    public_holiday_name_ca is not null as is_public_holiday,
    public_holiday_name_ca
from named
