"""The functions a query may call: Trino's, as Athena's engine version 3 has them, by name.

Here: names only, those that the models of such a project may use. Any other function is refused as unknown. To add one that is
missing, add a test that its result is Trino's. Not here: what a call means on DuckDB (`translate.py`).
"""

from __future__ import annotations

AGGREGATES = """
    approx_distinct arbitrary array_agg avg bool_and bool_or count count_if every max max_by min min_by stddev stddev_pop
    stddev_samp sum var_pop var_samp variance
"""
WINDOWS = "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"
NUMBERS = """
    abs cbrt ceil ceiling degrees e exp floor greatest is_finite is_infinite is_nan least ln log10 log2 mod pi pow power
    radians round sign sqrt truncate
"""
TEXTS = """
    array_join chr codepoint concat lower lpad ltrim md5 normalize regexp_extract regexp_like regexp_replace replace reverse rpad rtrim
    split split_part starts_with strpos substr substring to_hex to_utf8 trim upper length
"""
DATES = """
    date date_add date_diff date_trunc day day_of_month day_of_week day_of_year dow doy extract from_iso8601_date hour
    last_day_of_month millisecond minute month quarter second to_milliseconds week week_of_year year year_of_week
"""
CONDITIONS = "cast coalesce if nullif try try_cast"
ARRAYS = "cardinality contains element_at sequence slice unnest json_extract json_extract_scalar"

ALLOWED = frozenset(" ".join((AGGREGATES, WINDOWS, NUMBERS, TEXTS, DATES, CONDITIONS, ARRAYS)).split())

# Words that may come before a bracket without calling a function.
NO_CALL = frozenset(
    [
        "all",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "between",
        "bigint",
        "boolean",
        "by",
        "case",
        "char",
        "cross",
        "date",
        "decimal",
        "desc",
        "distinct",
        "double",
        "else",
        "end",
        "except",
        "exists",
        "filter",
        "first",
        "following",
        "from",
        "full",
        "group",
        "grouping",
        "having",
        "in",
        "inner",
        "insert",
        "integer",
        "intersect",
        "interval",
        "into",
        "is",
        "join",
        "last",
        "left",
        "like",
        "limit",
        "materialized",
        "natural",
        "not",
        "null",
        "nulls",
        "offset",
        "on",
        "or",
        "order",
        "outer",
        "over",
        "partition",
        "preceding",
        "range",
        "real",
        "recursive",
        "right",
        "row",
        "rows",
        "select",
        "sets",
        "smallint",
        "some",
        "table",
        "then",
        "time",
        "timestamp",
        "tinyint",
        "unbounded",
        "union",
        "using",
        "values",
        "varbinary",
        "varchar",
        "when",
        "where",
        "window",
        "with",
        "within",
    ]
)
