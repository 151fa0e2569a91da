-- How the sectors do: value, yearly growth and jobs in the newest quarter that has figures
select
    sectors.sector_name_ca,
    indicators.quarter_id,
    indicators.gdp_eur_millions,
    round(indicators.gdp_share_pct, 1) as gdp_share_pct,
    round(indicators.yearly_growth_pct, 1) as yearly_growth_pct,
    round(indicators.jobs) as jobs,
    indicators.observation_status
from marts.agg_economic_indicators_quarterly as indicators
inner join marts.dim_economic_sectors as sectors on indicators.sector_id = sectors.sector_id
where indicators.quarter_id = (
    select max(quarter_id)
    from marts.agg_economic_indicators_quarterly
    where gdp_eur_millions is not null
)
order by indicators.gdp_eur_millions desc, sectors.sector_name_ca
