-- Where residences for the elderly are fullest: places and users by comarca on the newest day
select
    comarca_name,
    places,
    users,
    users_year,
    round(100 * occupancy_ratio, 1) as occupancy_pct
from marts.fact_service_usage_daily
where date_id = (select max(date_id) from marts.fact_service_usage_daily)
    and service_group = 'elderly_residence'
    and occupancy_ratio is not null
order by occupancy_ratio desc, comarca_name
