"""SQL as analysts and dbt packages write it for Snowflake, with the rows that Snowflake's documentation lets expect.

A case is one or more statements; the rows are those of the last. Every case uses tables of its own, or EMP, which none
of them changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from snowflake.connector.errors import ProgrammingError
from snowflake_clients import Connect

from local_snowflake.testing import Server

EMPLOYEES = [
    "create or replace table ANALYTICS.PUBLIC.emp "
    "(id int, dept varchar, sal number(10,2), hired date, ts timestamp_ntz, tags variant, note varchar)",
    "insert into ANALYTICS.PUBLIC.emp select 1, 'a', 100.50, '2026-01-31', '2026-01-31 10:30:00', "
    """parse_json('{"k":[1,2],"o":{"p":"q"}}'), 'x-y-z'""",
    "insert into ANALYTICS.PUBLIC.emp select 2, 'a', 200, '2026-02-28', '2026-02-28 23:59:59', "
    """parse_json('{"k":[3]}'), null""",
    "insert into ANALYTICS.PUBLIC.emp select 3, 'b', null, null, null, null, 'abc123'",
]


@pytest.fixture(scope="module")
def employees(server: Server, connect_to: Connect) -> Iterator[Any]:
    """One session for all cases, with the table EMP."""
    with connect_to(server) as connection:
        cursor = connection.cursor()
        for statement in EMPLOYEES:
            cursor.execute(statement)
        yield cursor


def comparable(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with numbers as floats, JSON texts as their values and times in UTC: the spelling is not the point."""
    return [tuple(_comparable(value) for value in row) for row in rows]


def _comparable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return json.loads(value)
    return value


CASES = [
    pytest.param(
        [
            "create or replace table once (a int) as select 1",
            "create table if not exists once (a int) as select 2",
            "create temporary table if not exists once_here (a int) as select 3",
            "create temporary table if not exists once_here (a int) as select 4",
            "select a from once union all select a from once_here order by 1",
        ],
        [(1,), (3,)],
        id="create if not exists",
    ),
    pytest.param(
        ["select id from emp qualify row_number() over (partition by dept order by id desc)=1 order by 1"],
        [(2,), (3,)],
        id="qualify",
    ),
    pytest.param(
        ["select id, f.value::int v, f.index from emp, lateral flatten(input => tags:k) f order by 1,2"],
        [(1, 1, 0), (1, 2, 1), (2, 3, 0)],
        id="lateral flatten array",
    ),
    pytest.param(
        ["select id, f.value::int v from emp, lateral flatten(input => tags:k, outer => true) f order by 1,2"],
        [(1, 1), (1, 2), (2, 3), (3, None)],
        id="table(flatten()) outer",
    ),
    pytest.param(
        ["select f.value::int from emp, table(flatten(input => tags, path => 'k')) f where id=1 order by 1"],
        [(1,), (2,)],
        id="flatten path",
    ),
    pytest.param(
        ["select f.key from emp, lateral flatten(tags) f where id=1 order by 1"], [("k",), ("o",)], id="flatten object"
    ),
    pytest.param(
        ["select tags:o.p::varchar, tags['k'][0]::int from emp where id=1"], [("q", 1)], id="variant path + cast"
    ),
    pytest.param(
        ["select 5::variant, 'a'::variant::varchar, typeof(5::variant)"], [("5", "a", "INTEGER")], id="::variant"
    ),
    pytest.param(
        ["select parse_json('{\"a\":1}'):a::int, to_json(parse_json('[1,2]'))"], [(1, "[1,2]")], id="parse_json/to_json"
    ),
    pytest.param(["select object_construct('a',1,'b',null)"], [({"a": 1},)], id="object_construct"),
    pytest.param(
        ["select array_agg(id) within group (order by id desc) from emp"], [([3, 2, 1],)], id="array_agg order"
    ),
    pytest.param(["select array_size(array_agg(distinct dept)) from emp"], [(2,)], id="array_agg distinct"),
    pytest.param(
        ["select dept, listagg(id,'|') within group (order by id) from emp group by 1 order by 1"],
        [("a", "1|2"), ("b", "3")],
        id="listagg",
    ),
    pytest.param(
        ["select iff(1=1,'y','n'), nvl(null,2), nvl2(null,1,3), zeroifnull(null), nullifzero(0)"],
        [("y", 2, 3, 0, None)],
        id="iff/nvl/nvl2/zeroifnull/nullifzero",
    ),
    pytest.param(["select div0(1,0), div0(6,3), div0null(1,null)"], [(0, 2, 0)], id="div0/div0null"),
    pytest.param(
        ["select dateadd(month,1,'2026-01-31'::date), dateadd('hour',2,ts) from emp where id=1"],
        [(date(2026, 2, 28), datetime(2026, 1, 31, 12, 30))],
        id="dateadd",
    ),
    pytest.param(
        ["select dateadd(day,1,hired) from emp where id=1"], [(date(2026, 2, 1),)], id="dateadd on column date"
    ),
    pytest.param(
        [
            (
                "select datediff(day,hired,ts), datediff('hour','2026-01-31'::date,ts), "
                "datediff(month,'2026-01-31','2026-02-01') from emp where id=1"
            )
        ],
        [(0, 10, 1)],
        id="datediff mixed",
    ),
    pytest.param(
        [
            (
                ""
                "select timestampdiff(minute,'2026-01-01 00:00:00'::timestamp,'2026-01-01 01:00:00'::timestamp), "
                "timeadd(minute,5,'2026-01-01 00:00:00'::timestamp)"
            )
        ],
        [(60, datetime(2026, 1, 1, 0, 5))],
        id="timestampdiff/timeadd",
    ),
    pytest.param(
        [
            (
                "select date_trunc('month',ts), date_trunc(week,hired), last_day(hired), "
                "last_day(hired,'year') from emp where id=1"
            )
        ],
        [(datetime(2026, 1, 1), date(2026, 1, 26), date(2026, 1, 31), date(2026, 12, 31))],
        id="date_trunc/last_day",
    ),
    pytest.param(["select hired - '2026-01-01'::date from emp where id=1"], [(30,)], id="date - date"),
    pytest.param(
        [
            (
                "select dayname('2026-11-21'::date), monthname('2026-11-21'::date), "
                "dayofweek('2026-11-22'::date), weekiso('2026-11-21'::date)"
            )
        ],
        [("Sat", "Nov", 0, 47)],
        id="dayname/monthname/dayofweek",
    ),
    pytest.param(
        [
            (
                "select to_varchar(ts,'YYYY-MM-DD HH24:MI:SS'), to_char(hired,'DD/MM/YYYY'), "
                "to_varchar(ts,'DD-MON-YY') from emp where id=1"
            )
        ],
        [("2026-01-31 10:30:00", "31/01/2026", "31-Jan-26")],
        id="to_varchar date",
    ),
    pytest.param(
        ["select to_varchar(1234.5,'999,999.00'), to_varchar(12)"], [("1,234.50", "12")], id="to_varchar number"
    ),
    pytest.param(
        ["select to_date('31/01/2026','DD/MM/YYYY'), try_to_date('x'), to_date('2026-01-02')"],
        [(date(2026, 1, 31), None, date(2026, 1, 2))],
        id="to_date format",
    ),
    pytest.param(
        [
            (
                "select to_timestamp('2026-01-02 03:04:05','YYYY-MM-DD HH24:MI:SS'), "
                "to_timestamp_ntz('2026-01-02'), to_timestamp(0)"
            )
        ],
        [(datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2), datetime(1970, 1, 1))],
        id="to_timestamp format",
    ),
    pytest.param(
        [
            (
                "select try_to_number('12'), try_to_number('x'), to_number('12.345',10,2), "
                "try_to_decimal('1.5',10,1), try_to_double('x'), try_to_timestamp('x'), try_to_boolean('x')"
            )
        ],
        [(12, None, Decimal("12.35"), Decimal("1.5"), None, None, None)],
        id="try_to_number",
    ),
    pytest.param(
        ["select try_cast('x' as int), try_cast('2026-01-01' as date)"], [(None, date(2026, 1, 1))], id="try_cast"
    ),
    pytest.param(
        ["select split_part(note,'-',2), split_part(note,'-',-1), strtok('a b c',' ',2) from emp where id=1"],
        [("y", "z", "b")],
        id="split_part/strtok",
    ),
    pytest.param(["select split('a,b',',')[1]::varchar, array_size(split('a,b',','))"], [("b", 2)], id="split"),
    pytest.param(
        [
            (
                "select regexp_replace('abc123','[0-9]+','#'), regexp_replace('a.b.c','\\\\.','-'), "
                "regexp_replace('Abc','a','x',1,0,'i')"
            )
        ],
        [("abc#", "a-b-c", "xbc")],
        id="regexp_replace",
    ),
    pytest.param(
        [
            (
                "select regexp_like('abc123','[a-z]+[0-9]+'), regexp_substr('abc123','[0-9]+'), "
                "regexp_count('a1b2','[0-9]'), 'abc' rlike 'a.*'"
            )
        ],
        [(True, "123", 2, True)],
        id="regexp_like/substr/count",
    ),
    pytest.param(["select regexp_instr('abc123','[0-9]+')"], [(4,)], id="regexp_instr"),
    pytest.param(
        ["select id, round(ratio_to_report(sal) over (),4)::float from emp where sal is not null order by 1"],
        [(1, 0.3344), (2, 0.6656)],
        id="ratio_to_report",
    ),
    pytest.param(
        ["select seq4() n from table(generator(rowcount => 3)) order by 1"], [(0,), (1,), (2,)], id="generator + seq4"
    ),
    pytest.param(
        ["select row_number() over (order by seq4()) n from table(generator(rowcount => 3)) order by 1"],
        [(1,), (2,), (3,)],
        id="generator + row_number",
    ),
    pytest.param(
        ["select uniform(1,10,random()) between 1 and 10, randstr(5,random()) is not null"],
        [(True, True)],
        id="uniform/random",
    ),
    pytest.param(
        ["select * from (select dept, id from emp) pivot(count(id) for dept in ('a','b')) as p (a,b)"],
        [(2, 1)],
        id="pivot",
    ),
    pytest.param(
        ["select * from (select 1 as j, 2 as f) unpivot(v for m in (j,f)) order by m"],
        [("F", 2), ("J", 1)],
        id="unpivot",
    ),
    pytest.param(
        [
            (
                "select median(sal), percentile_cont(0.5) within group (order by sal), "
                "approx_count_distinct(dept), mode(dept) from emp"
            )
        ],
        [(Decimal("150.25"), Decimal("150.25"), 2, "a")],
        id="median/percentile/approx",
    ),
    pytest.param(
        ["select round(stddev(id),3), corr(id,id), variance(id) from emp"], [(1.0, 1.0, 1.0)], id="stddev/corr/skew"
    ),
    pytest.param(
        [("select count_if(id>1), boolor_agg(id>2), booland_agg(id>0), any_value(dept) from emp where dept='a'")],
        [(1, False, True, "a")],
        id="count_if/bool agg/any_value",
    ),
    pytest.param(
        ["select max_by(id,sal), min_by(id,sal) from emp where sal is not null"], [(2, 1)], id="min_by/max_by"
    ),
    pytest.param(
        [
            "create or replace sequence sq start 5 increment 2",
            "select sq.nextval",
            "select ANALYTICS.PUBLIC.sq.nextval as n",
        ],
        [(7,)],
        id="sequence",
    ),
    pytest.param(
        [
            "create or replace table ai (id int autoincrement, x varchar)",
            "insert into ai (x) values ('a'),('b')",
            "select id,x from ai order by 1",
        ],
        [(1, "a"), (2, "b")],
        id="autoincrement",
    ),
    pytest.param(
        [
            (
                "create or replace table dc (id int, at timestamp_ntz default current_timestamp(), "
                "s varchar default 'z')"
            ),
            "insert into dc (id) values (1)",
            "select id, s, at is not null from dc",
        ],
        [(1, "z", True)],
        id="default column",
    ),
    pytest.param(
        ["select id from emp where note ilike any ('X%','%B%') order by 1"],
        [(1,), (3,)],
        id="ilike any / like any / like all",
    ),
    pytest.param(["select id from emp where note like all ('a%','%3')"], [(3,)], id="like all"),
    pytest.param(["create or replace table cl clone emp", "select count(*) from cl"], [(3,)], id="create table clone"),
    pytest.param(["create or replace table lk like emp", "select count(*) from lk"], [(0,)], id="create table like"),
    pytest.param(["select $1, $2 from values (1,'a'),(2,'b') order by 1"], [(1, "a"), (2, "b")], id="$1 from values"),
    pytest.param(["select column1, column2 from (values (1,'a')) "], [(1, "a")], id="values column1"),
    pytest.param(["select v.x from (values (1),(2)) as v(x) order by 1"], [(1,), (2,)], id="values alias columns"),
    pytest.param(["set vv = 3", "select $vv + 1 as r, '$vv' as s"], [(4, "$vv")], id="session variable"),
    pytest.param(
        [
            "create or replace temporary table ANALYTICS.PUBLIC.tt as select 1 a",
            "insert into ANALYTICS.PUBLIC.tt values (2)",
            "select sum(a) from tt",
        ],
        [(3,)],
        id="temporary table",
    ),
    pytest.param(
        [
            "create or replace temporary table tt1 as select 4 a",
            "create or replace temporary view tv1 as select a+1 b from tt1",
            "select b from ANALYTICS.PUBLIC.tv1",
        ],
        [(5,)],
        id="temp view over temp table",
    ),
    pytest.param(
        [
            "create or replace table mt (id int, v varchar)",
            "insert into mt values (1,'a')",
            (
                "merge into ANALYTICS.PUBLIC.mt as d using (select 1 id,'b' v union all select 2,'c') as s "
                "on d.id=s.id "
                "when matched then update set d.v=s.v when not matched then insert (id,v) values (id,v)"
            ),
            "select * from mt order by 1",
        ],
        [(1, "b"), (2, "c")],
        id="merge bare values",
    ),
    pytest.param(
        [
            "create or replace table mt2 (id int, v varchar)",
            "insert into mt2 values (1,'a'),(2,'b')",
            (
                "merge into mt2 using (select 1 id, "
                "true del union all select 2,false union all select 3,false) s on mt2.id=s.id "
                "when matched and s.del then delete when matched then update set v='u' "
                "when not matched and s.id>2 then insert (id,v) values (s.id,'n')"
            ),
            "select * from mt2 order by 1",
        ],
        [(2, "u"), (3, "n")],
        id="merge delete + condition",
    ),
    pytest.param(
        [
            "create or replace table u1 as select 1 id, 'a' v union all select 2,'b'",
            "update u1 t set v='z' from (select 2 id) s where t.id=s.id",
            "delete from u1 using (select 1 id) s where u1.id=s.id",
            "select * from u1",
        ],
        [(2, "z")],
        id="update from / delete using",
    ),
    pytest.param(
        ["create or replace table io as select 1 a", "insert overwrite into io select 9", "select * from io"],
        [(9,)],
        id="insert overwrite",
    ),
    pytest.param(
        [
            "create or replace table i1 (a int)",
            "create or replace table i2 (a int)",
            "insert all into i1 into i2 select 1 a",
            "select (select count(*) from i1)+(select count(*) from i2)",
        ],
        [(2,)],
        id="multi insert all",
    ),
    pytest.param(
        [
            "create or replace table al (a int, b int)",
            "alter table al add column c int, d varchar",
            "alter table al drop column a, b",
            "alter table al rename column c to e",
            "insert into al (e,d) values (1,'x')",
            "select e,d from al",
        ],
        [(1, "x")],
        id="truncate / alter add drop rename",
    ),
    pytest.param(
        [
            "create or replace table at2 (a varchar(5))",
            "alter table at2 alter column a set data type varchar(50)",
            "insert into at2 values ('longer than five')",
            "select length(a) from at2",
        ],
        [(16,)],
        id="alter column type",
    ),
    pytest.param(
        [
            "create or replace table s1 as select 1 a",
            "create or replace table s2 as select 2 a",
            "alter table s1 swap with s2",
            "select a from s1",
        ],
        [(2,)],
        id="swap with",
    ),
    pytest.param(
        ["select dept, count(*) c from emp group by all order by 1"],
        [("a", 2), ("b", 1)],
        id="group by all / having / rollup",
    ),
    pytest.param(
        ["select dept, count(*) from emp group by rollup(dept) order by 1 nulls last"],
        [("a", 2), ("b", 1), (None, 3)],
        id="rollup / grouping sets",
    ),
    pytest.param(
        ["select * exclude (id,sal,hired,ts,tags) from emp where id=1"], [("a", "x-y-z")], id="select * exclude/rename"
    ),
    pytest.param(["select id*2 as x, x+1 as y from emp where id=1"], [(2, 3)], id="lateral column alias"),
    pytest.param(
        [
            (
                "select id, last_value(sal ignore nulls) "
                "over (order by id rows between unbounded preceding and current row)::float from emp "
                "order by 1"
            )
        ],
        [(1, 100.5), (2, 200.0), (3, 200.0)],
        id="window frame ignore nulls",
    ),
    pytest.param(
        ["select id, lag(id,1,0) over (order by id), lead(id) over (order by id) from emp order by 1"],
        [(1, 0, 2), (2, 1, 3), (3, 2, None)],
        id="lag/lead/conditional",
    ),
    pytest.param(
        ["with recursive r as (select 1 n union all select n+1 from r where n<3) select sum(n) from r"],
        [(6,)],
        id="recursive cte",
    ),
    pytest.param(
        [
            (
                "select array_contains('a'::variant, array_construct('a','b')), "
                "array_to_string(array_construct('a','b'),'-'), array_size(array_construct(1,2,3)), "
                "get(array_construct(7,8),1)::int"
            )
        ],
        [(True, "a-b", 3, 8)],
        id="array functions",
    ),
    pytest.param(
        ["select object_keys(parse_json('{\"a\":1}')), get_path(parse_json('{\"a\":{\"b\":2}}'),'a.b')::int"],
        [(["a"], 2)],
        id="object functions",
    ),
    pytest.param(
        ["select is_null_value(parse_json('null')), typeof(parse_json('[1]')), is_array(parse_json('[1]'))"],
        [(True, "ARRAY", True)],
        id="is_null_value/typeof",
    ),
    pytest.param(
        [
            (
                "select initcap('ab cd'), contains('abc','b'), startswith('abc','a'), "
                "charindex('b','abc'), position('c' in 'abc'), lpad('1',3,'0'), reverse('abc'), "
                "right('abc',2), insert('abc',2,1,'Z'), translate('abc','ab','xy'), repeat('a',3), "
                "ascii('A'), editdistance('abc','abd')"
            )
        ],
        [("Ab Cd", True, True, 2, 3, "001", "cba", "bc", "aZc", "xyc", "aaa", 65, 1)],
        id="string functions",
    ),
    pytest.param(
        ["select md5('a'), sha2('a') is not null, hash(1) is not null, sha1('a')"],
        [("0cc175b9c0f1b6a831c399e269772661", True, True, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8")],
        id="hash functions",
    ),
    pytest.param(
        [
            (
                "select mod(7,3), ceil(1.2), round(2.567,2), trunc(2.9), sign(-2), power(2,3), square(3), "
                "round(cbrt(27), 6), greatest(1,2), least(1,2), width_bucket(5,0,10,5)"
            )
        ],
        [(1, 2, Decimal("2.57"), 2, -1, 8.0, 9, 3.0, 2, 1, 3)],
        id="math",
    ),
    pytest.param(
        ["select decode(1,1,'one','other'), coalesce(null,1), equal_null(null,null), nullif(1,1)"],
        [("one", 1, True, None)],
        id="decode/case/coalesce/equal_null",
    ),
    pytest.param(
        ["select convert_timezone('UTC','America/New_York','2026-01-01 12:00:00'::timestamp_ntz)"],
        [(datetime(2026, 1, 1, 7),)],
        id="convert_timezone",
    ),
    pytest.param(
        [
            (
                "select year(ts), quarter(ts), extract(month from ts), date_part('day',ts), hour(ts), "
                "dayofyear(ts), date_part(epoch_second,ts) from emp where id=1"
            )
        ],
        [(2026, 1, 1, 31, 10, 31, 1769855400)],
        id="date parts",
    ),
    pytest.param(
        [
            (
                "select date_from_parts(2026,1,31), "
                "time_slice('2026-01-01 10:37:00'::timestamp_ntz,15,'MINUTE'), "
                "months_between('2026-03-01'::date,'2026-01-01'::date), add_months('2026-01-31'::date,1), "
                "next_day('2026-11-21'::date,'mo')"
            )
        ],
        [(date(2026, 1, 31), datetime(2026, 1, 1, 10, 30), 2, date(2026, 2, 28), date(2026, 11, 23))],
        id="date_from_parts",
    ),
    pytest.param(
        ["select '2026-01-01 10:00:00 +0200'::timestamp_tz"],
        [(datetime(2026, 1, 1, 8, tzinfo=UTC),)],
        id="cast timestamp_tz",
    ),
    pytest.param(
        [("select '2026-01-01'::date + interval '1 day', '2026-01-01'::timestamp + interval '2 hours, 3 minutes'")],
        [(datetime(2026, 1, 2), datetime(2026, 1, 1, 2, 3))],
        id="interval arithmetic",
    ),
    pytest.param(
        ["select id from emp minus select 1 union select 9 order by 1"], [(2,), (3,), (9,)], id="minus/except/intersect"
    ),
    pytest.param(
        [
            (
                "select a.x, b.y "
                "from (select 3 x) a asof join (select 1 y union all select 2 y) b match_condition (a.x >= b.y)"
            )
        ],
        [(3, 2)],
        id="asof join",
    ),
    pytest.param(["select count(*) <= 3 from emp sample (50)"], [(True,)], id="sample"),
    pytest.param(["select top 1 id from emp order by id"], [(1,)], id="top/limit/offset/fetch"),
    pytest.param(["select 42 as a", "select * from table(result_scan(last_query_id()))"], [(42,)], id="result_scan"),
    pytest.param(
        ["show tables like 'EMP' in schema ANALYTICS.PUBLIC", 'select "name" from table(result_scan(last_query_id()))'],
        [("EMP",)],
        id="show/describe",
    ),
    pytest.param(
        [
            (
                "select column_name, data_type "
                "from ANALYTICS.information_schema.columns where table_schema='PUBLIC' and table_name='EMP' "
                "order by ordinal_position limit 2"
            )
        ],
        [("ID", "NUMBER"), ("DEPT", "TEXT")],
        id="information_schema",
    ),
    pytest.param(
        [
            (
                "select current_warehouse(), current_role(), current_user(), current_database(), "
                "current_schema(), current_account() is not null, current_timestamp() is not null"
            )
        ],
        [("WH", "TRANSFORMER", "DBT", "ANALYTICS", "PUBLIC", True, True)],
        id="context functions",
    ),
    pytest.param(["select count(*) from identifier('ANALYTICS.PUBLIC.EMP')"], [(3,)], id="identifier()"),
    pytest.param(
        [
            'create or replace table "MixedCase" ("Col A" int, "select" int)',
            'insert into "MixedCase" values (1,2)',
            'select "Col A", "select" from "MixedCase"',
        ],
        [(1, 2)],
        id="quoted identifiers",
    ),
    pytest.param(["select $$it's$$"], [("it's",)], id="dollar string"),
    pytest.param(["select 'a\\'b', 'x\\ny'"], [("a'b", "x\ny")], id="escape in string"),
    pytest.param(
        [
            "create or replace table tx (a int)",
            "begin",
            "insert into tx values (1)",
            "rollback",
            "select count(*) from tx",
        ],
        [(0,)],
        id="transaction",
    ),
    pytest.param(["select 1/2, 10/4::int"], [(Decimal("0.500000"), Decimal("2.500000"))], id="integer division"),
]


@pytest.mark.parametrize(("statements", "expected"), CASES)
def test_a_statement_gives_snowflakes_rows(
    employees: Any, statements: list[str], expected: list[tuple[Any, ...]]
) -> None:
    for statement in statements:
        rows = employees.execute(statement).fetchall()
    assert comparable(rows) == comparable(expected)


def test_the_session_goes_on_after_an_error(employees: Any) -> None:
    with pytest.raises(ProgrammingError):
        employees.execute("select nope from emp")
    assert employees.execute("select count(*) from emp").fetchall() == [(3,)]
