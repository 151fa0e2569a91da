with stations as (

    select
        borough_id,
        count(*) as stations,
        {{ complete_sum('case when accessibility_id = 1 then 1 else 0 end') }} as accessible_stations
    from {{ source('staging', 'stations') }}
    group by borough_id

),

places as (

    select
        {{ folded('county_name') }} as county,
        count(distinct place_id) as historic_places
    from {{ source('staging', 'historic_places') }}
    group by {{ folded('county_name') }}

)

select
    boroughs.borough_id,
    boroughs.borough_name,
    boroughs.county_name,
    cast(coalesce(stations.stations, 0) as bigint) as stations,
    cast(coalesce(stations.accessible_stations, 0) as bigint) as accessible_stations,
    cast(coalesce(places.historic_places, 0) as bigint) as historic_places,
    100 * cast(stations.accessible_stations as double) / stations.stations as accessible_pct
from {{ ref('boroughs') }} as boroughs
left join stations
    on boroughs.borough_id = stations.borough_id
left join places
    on {{ folded('boroughs.county_name') }} = places.county
