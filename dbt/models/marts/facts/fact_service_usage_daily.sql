{{ config(meta={'clock': 'day'}, **replacing('date_id', partitioned_by=['date_id'])) }}

with social_services as (

    select * from {{ source('staging', 'social_services') }}

),

service_usage as (

    select * from {{ source('staging', 'service_usage') }}

),

comarques as (

    select
        comarca_id,
        comarca_name
    from (
        select
            comarca_id,
            comarca_name,
            -- The name on the day of the run; a comarca that exists only later or earlier has the name nearest in time.
            row_number() over (
                partition by comarca_id
                order by
                    case when {{ valid_on('versions', as_of()) }} then 0 else 1 end,
                    valid_from desc,
                    comarca_name
            ) as names_back
        from {{ ref('dim_municipalities') }} as versions
    ) as names
    where names_back = 1

),

registered as (

    select
        comarca_id,
        service_group,
        count(*) as registered_services,
        {{ complete_sum('capacity_places') }} as places,
        cast(sum(capacity_places) as bigint) as known_places,
        {{ known_ratio('capacity_places') }} as places_known_ratio
    from social_services
    group by comarca_id, service_group

),

-- The source counts users of these two groups only; they get the names of the register's groups.
counted as (

    select
        comarca_id,
        'elderly_day_centre' as service_group,
        year as users_year,
        day_centre_users as users
    from service_usage
    where day_centre_users is not null

    union all

    select
        comarca_id,
        'elderly_residence' as service_group,
        year as users_year,
        residence_users as users
    from service_usage
    where residence_users is not null

),

ranked as (

    select
        comarca_id,
        service_group,
        users_year,
        users,
        row_number() over (partition by comarca_id, service_group order by users_year desc) as years_back
    from counted

),

latest as (

    select * from ranked
    where years_back = 1

),

-- There may be users where no service is registered any more, and services without counted users.
groups as (

    select comarca_id, service_group from registered
    union
    select comarca_id, service_group from latest

)

select
    groups.comarca_id,
    comarques.comarca_name,
    groups.service_group,
    coalesce(registered.registered_services, 0) as registered_services,
    registered.places,
    registered.known_places,
    registered.places_known_ratio,
    latest.users,
    latest.users_year,
    cast(latest.users as double) / nullif(registered.places, 0) as occupancy_ratio,
    {{ as_of() }} as date_id
from groups
left join comarques
    on groups.comarca_id = comarques.comarca_id
left join registered
    on groups.comarca_id = registered.comarca_id
    and groups.service_group = registered.service_group
left join latest
    on groups.comarca_id = latest.comarca_id
    and groups.service_group = latest.service_group
