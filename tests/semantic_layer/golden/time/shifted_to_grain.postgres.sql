-- {"metrics": ["at_month_start"], "dimensions": ["metric_time__day"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("p0") AS "m0"
  FROM (
    SELECT
      "wh.clock_0"."t" AS "k0",
      "wh.periods"."p0" AS "p0"
    FROM (
      SELECT
        "t0",
        SUM("v0") AS "p0"
      FROM (
        SELECT
          "orders"."day" AS "t0",
          1 AS "v0"
        FROM "site"."orders" AS "orders"
      ) AS "r"
      GROUP BY
        "t0"
    ) AS "wh.periods"
    INNER JOIN (
      SELECT DISTINCT
        "site_days"."day" AS "t"
      FROM "site"."days" AS "site_days"
    ) AS "wh.clock_0"
      ON CAST(DATE_TRUNC('month', "wh.clock_0"."t") AS DATE) = "wh.periods"."t0"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__day",
    (
      "m0"
    ) AS "at_month_start"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__day" ASC
