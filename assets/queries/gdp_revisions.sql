-- How GDP was revised: each quarter's first known figure beside the one that holds now
with figures as (
    select
        quarter_id,
        revision_date,
        gdp_eur_millions,
        is_latest,
        row_number() over (partition by quarter_id order by revision_date) as revision_number
    from marts.fact_gdp_quarterly
    where sector_id = 'gdp'
        and gdp_eur_millions is not null
)
select
    latest.quarter_id,
    earliest.revision_date as first_known_date,
    latest.revision_date as revised_date,
    earliest.gdp_eur_millions as first_gdp_eur_millions,
    latest.gdp_eur_millions,
    latest.gdp_eur_millions - earliest.gdp_eur_millions as revision_eur_millions
from figures as latest
inner join figures as earliest
    on latest.quarter_id = earliest.quarter_id
    and earliest.revision_number = 1
where latest.is_latest
order by latest.quarter_id desc
