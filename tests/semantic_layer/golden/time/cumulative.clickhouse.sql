-- {"metrics": ["revenue_so_far"], "dimensions": ["metric_time__day"], "filters": {"field": "metric_time__day", "op": "ge", "value": "2025-02-01"}}
-- {"p0": "2025-02-01"}
WITH part_0 AS (
  SELECT
    "k0",
    SUM(CAST("p0" AS Nullable(Decimal(38, 0)))) AS "m0"
  FROM (
    SELECT
      "wh.clock_0"."t" AS "k0",
      "wh.periods"."p0" AS "p0"
    FROM (
      SELECT
        "t0",
        SUM(CAST("v0" AS Nullable(Decimal(38, 0)))) AS "p0"
      FROM (
        SELECT
          "orders"."day" AS "t0",
          "orders"."amount" AS "v0"
        FROM "site"."orders" AS "orders"
      ) AS "r"
      GROUP BY
        "t0"
    ) AS "wh.periods"
    INNER JOIN (
      SELECT DISTINCT
        "site_days"."day" AS "t"
      FROM "site"."days" AS "site_days"
      WHERE
        "site_days"."day" >= CAST({p0: Nullable(Date32)} AS Nullable(Date32))
    ) AS "wh.clock_0"
      ON "wh.periods"."t0" <= "wh.clock_0"."t"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__day",
    "m0" AS "revenue_so_far"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__day" ASC
SETTINGS join_use_nulls = 1, aggregate_functions_null_for_empty = 1, prefer_column_name_to_alias = 1, enable_extended_results_for_datetime_functions = 1
