{{ config(meta={'clock': 'year'}) }}

with days as (

    -- The calendar ends with the year after the run, so that every fact of this year finds its day.
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

public_holidays as (

    select * from {{ ref('public_holidays') }}

),

named as (

    select
        numbered.*,
        public_holidays.public_holiday_name_ca
    from numbered
    left join public_holidays
        on numbered.date_id = public_holidays.date_id

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
