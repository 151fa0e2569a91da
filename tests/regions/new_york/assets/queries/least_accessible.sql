-- Where the fewest stations are accessible: boroughs by the share of theirs
select
    borough_name,
    stations,
    accessible_pct,
    historic_places
from marts.dim_boroughs
order by accessible_pct
