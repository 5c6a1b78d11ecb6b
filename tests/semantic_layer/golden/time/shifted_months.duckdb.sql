-- {"metrics": ["month_before"], "dimensions": ["metric_time__month"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("p0") AS "m0"
  FROM (
    SELECT
      CAST(DATE_TRUNC('month', "wh.clock_0"."t") AS DATE) AS "k0",
      "wh.periods"."p0" AS "p0"
    FROM (
      SELECT
        "t0",
        SUM("v0") AS "p0"
      FROM (
        SELECT
          CAST(DATE_TRUNC('month', "orders"."day") AS DATE) AS "t0",
          1 AS "v0"
        FROM "site"."main"."orders" AS "orders"
      ) AS "r"
      GROUP BY
        "t0"
    ) AS "wh.periods"
    INNER JOIN (
      SELECT DISTINCT
        CAST(DATE_TRUNC('month', "site_days"."day") AS DATE) AS "t"
      FROM "site"."main"."days" AS "site_days"
    ) AS "wh.clock_0"
      ON CAST("wh.clock_0"."t" - INTERVAL '1' MONTH AS DATE) = "wh.periods"."t0"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__month",
    (
      "m0"
    ) AS "month_before"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__month" ASC
