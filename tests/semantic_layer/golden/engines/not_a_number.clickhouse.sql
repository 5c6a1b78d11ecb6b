-- {"metrics": ["runs"], "filters": {"not": {"field": "run__odd", "op": "gt", "value": 1}}}
WITH part_0 AS (
  SELECT
    COUNT("v0") AS "m0"
  FROM (
    SELECT
      1 AS "v0"
    FROM "lab"."runs" AS "runs"
    WHERE
      NOT (
        CASE WHEN isNaN("runs"."odd") THEN NULL ELSE "runs"."odd" END > CAST({p0: Nullable(Float64)} AS Nullable(Float64))
      )
  ) AS "r"
), answer AS (
  SELECT
    "m0" AS "runs"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
SETTINGS join_use_nulls = 1, aggregate_functions_null_for_empty = 1, prefer_column_name_to_alias = 1, enable_extended_results_for_datetime_functions = 1
