"""The SQL of the server's own that stands in DuckDB beside fakesnow's: macros, one bookkeeping table, one view.

The macros are typed, so that a DATE stays a DATE when days or months are added to it or when it is truncated; DuckDB
alone makes a TIMESTAMP of it. All of them live in the `_fs_global` database, which fakesnow names.
"""

GLOBAL_SCHEMA = "_fs_global._fs_information_schema"
OBJECTS_TABLE = f"{GLOBAL_SCHEMA}._ls_objects"
COLUMNS_TABLE = f"{GLOBAL_SCHEMA}._fs_columns_ext"

GLOBAL_OBJECTS = f"""
create table if not exists {OBJECTS_TABLE} (
    cat varchar, sch varchar, name varchar, created timestamptz, altered timestamptz, primary key (cat, sch, name)
);

create or replace macro _fs_global.main._ls_add_day
    (d DATE, n) as (d + n::integer),
    (d TIMESTAMP, n) as (d + to_days(n::integer)),
    (d TIMESTAMPTZ, n) as (d + to_days(n::integer)),
    (d VARCHAR, n) as (d::timestamp + to_days(n::integer));

create or replace macro _fs_global.main._ls_add_month
    (d DATE, n) as ((d + to_months(n::integer))::date),
    (d TIMESTAMP, n) as (d + to_months(n::integer)),
    (d TIMESTAMPTZ, n) as (d + to_months(n::integer)),
    (d VARCHAR, n) as (d::timestamp + to_months(n::integer));

create or replace macro _fs_global.main._ls_trunc
    (u, d DATE) as (date_trunc(u, d)::date),
    (u, d TIMESTAMP) as (date_trunc(u, d)),
    (u, d TIMESTAMPTZ) as (date_trunc(u, d)),
    (u, d VARCHAR) as (date_trunc(u, d::timestamp));

create or replace macro _fs_global.main._ls_typeof(j) as (
    case json_type(j)
        when 'UBIGINT' then 'INTEGER' when 'BIGINT' then 'INTEGER' when 'DOUBLE' then 'DECIMAL'
        when 'NULL' then 'NULL_VALUE' else json_type(j)
    end
);

create or replace macro _fs_global.main._ls_width_bucket(x, lo, hi, n) as (
    case when x < lo then 0 when x >= hi then n + 1 else floor((x - lo) * n / (hi - lo))::bigint + 1 end
);

create or replace macro _fs_global.main._ls_flatten_outer(input) as table
    select
        1::ubigint as SEQ, e.k as KEY, coalesce(e.k, '[' || e.i || ']') as PATH,
        case when e.k is null then e.i end as INDEX, e.v as VALUE, to_json(input) as THIS
    from (
        select unnest(
            case when json_type(to_json(input)) = 'OBJECT' then list_transform(
                json_keys(to_json(input)),
                lambda x: struct_pack(k := x, i := null::bigint, v := cast(to_json(input) -> x as json))
            ) else list_transform(
                range(json_array_length(to_json(input))::bigint),
                lambda x: struct_pack(k := null::varchar, i := x, v := cast(to_json(input) -> x as json))
            ) end
        ) as e
    )
    union all
    select 1, null, '', null, null, to_json(input)
    where coalesce(json_array_length(to_json(input)), 0) = 0
        and (input is null or len(json_keys(to_json(input))) = 0 or json_type(to_json(input)) = 'ARRAY');
"""


def tables_view(database: str) -> str:
    """INFORMATION_SCHEMA.TABLES of a database, with row counts, comments and times of change."""
    return f"""
create or replace view {database}._fs_information_schema._fs_tables as
select
    t.database_name "TABLE_CATALOG", t.schema_name "TABLE_SCHEMA", t.table_name "TABLE_NAME",
    'SYSADMIN' "TABLE_OWNER", t.kind "TABLE_TYPE", 'NO' "IS_TRANSIENT", null::varchar "CLUSTERING_KEY",
    t.row_count "ROW_COUNT", case when t.row_count is null then null else 0 end "BYTES",
    1 "RETENTION_TIME", 'YES' "IS_INSERTABLE_INTO", 'YES' "IS_TYPED", null::varchar "COMMIT_ACTION",
    coalesce(m.created, to_timestamp(0))::timestamptz "CREATED",
    coalesce(m.altered, to_timestamp(0))::timestamptz "LAST_ALTERED",
    coalesce(m.altered, to_timestamp(0))::timestamptz "LAST_DDL",
    'SYSADMIN' "LAST_DDL_BY", 'NO' "AUTO_CLUSTERING_ON", t.comment "COMMENT", 'NO' "IS_TEMPORARY",
    'NO' "IS_ICEBERG", 'NO' "IS_DYNAMIC", 'NO' "IS_IMMUTABLE", 'NO' "IS_HYBRID"
from (
    select database_name, schema_name, table_name, 'BASE TABLE' kind, estimated_size::bigint row_count, comment
    from duckdb_tables()
    union all
    select database_name, schema_name, view_name, 'VIEW', null, comment from duckdb_views() where not internal
) t
left join {OBJECTS_TABLE} m
    on m.cat = t.database_name and m.sch = t.schema_name and m.name = t.table_name
where t.database_name = '{database}' and t.schema_name <> '_fs_information_schema'
"""


OBJECTS = f"""
select t.*, coalesce(m.created, to_timestamp(0))::varchar
from (
    select database_name d, schema_name s, table_name n, 'TABLE' kind, comment, estimated_size::bigint
    from duckdb_tables()
    union all
    select database_name, schema_name, view_name, 'VIEW', comment, null from duckdb_views() where not internal
) t
left join {OBJECTS_TABLE} m on (m.cat, m.sch, m.name) = (t.d, t.s, t.n)
where d not in ('memory', '_fs_global', 'temp', 'system') and s not in ('main', '_fs_information_schema')
    and ($1 is null or d = $1) and ($2 is null or s = $2)
order by d, s, n
"""

COLUMNS = f"""
select c.column_name, c.data_type, c.is_nullable, c.column_default, c.comment, e.ext_character_maximum_length
from duckdb_columns() c
left join {COLUMNS_TABLE} e
    on (e.ext_table_catalog, e.ext_table_schema, e.ext_table_name, e.ext_column_name)
        = (c.database_name, c.schema_name, c.table_name, c.column_name)
where (c.database_name, c.schema_name, c.table_name) = ($1, $2, $3)
order by c.column_index
"""
