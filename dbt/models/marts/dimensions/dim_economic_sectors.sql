{{ config(meta={'optional': ['staging.employment']}) }}

with accounts as (

    select * from {{ ref('accounts_sectors') }}

),

sections as (

    select * from {{ ref('section_sectors') }}

),

-- Names change with statistical revisions: the newest one is used.
accounts_names as (

    select
        sector_id,
        sector_name,
        row_number() over (
            partition by sector_id order by updated_date desc, quarter_id desc, price_basis, measure
        ) as names_back
    from {{ source('staging', 'gdp') }}

),

sections_names as (

    select
        classification,
        section_id,
        section_name,
        row_number() over (
            partition by classification, section_id order by updated_date desc, quarter_id desc, regime, comarca_id
        ) as names_back
    from {{ source('staging', 'employment') }}

)

select
    accounts.sector_id,
    'GDP' as classification,
    accounts.sector_code,
    coalesce(accounts_names.sector_name, accounts.sector_name_ca) as sector_name_ca,
    accounts.parent_sector_id,
    accounts.level_number,
    accounts.main_sector_id
from accounts
left join accounts_names
    on accounts.sector_id = accounts_names.sector_id
    and accounts_names.names_back = 1

union all

select
    sections_names.classification || ':' || sections_names.section_id as sector_id,
    sections_names.classification,
    sections_names.section_id as sector_code,
    sections_names.section_name as sector_name_ca,
    sections.parent_sector_id,
    accounts.level_number + 1 as level_number,
    accounts.main_sector_id
from sections_names
left join sections
    on sections_names.classification = sections.classification
    and sections_names.section_id = sections.section_id
left join accounts
    on sections.parent_sector_id = accounts.sector_id
where sections_names.names_back = 1
