-- {"metrics": ["twice_before"], "dimensions": ["metric_time__day"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("p0") AS "m0"
  FROM (
    SELECT
      "wh.clock_1"."t" AS "k0",
      "wh.periods"."p0" AS "p0"
    FROM (
      SELECT
        "t0",
        SUM("v0") AS "p0"
      FROM (
        SELECT
          "orders"."day" AS "t0",
          1 AS "v0"
        FROM "site"."main"."orders" AS "orders"
      ) AS "r"
      GROUP BY
        "t0"
    ) AS "wh.periods"
    INNER JOIN (
      SELECT DISTINCT
        "site_days"."day" AS "t"
      FROM "site"."main"."days" AS "site_days"
    ) AS "wh.clock_0"
      ON CAST("wh.clock_0"."t" - INTERVAL '2' DAY AS DATE) = "wh.periods"."t0"
    INNER JOIN (
      SELECT DISTINCT
        "site_days_2"."day" AS "t"
      FROM "site"."main"."days" AS "site_days_2"
    ) AS "wh.clock_1"
      ON CAST("wh.clock_1"."t" - INTERVAL '1' DAY AS DATE) = "wh.clock_0"."t"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__day",
    2 * (
      (
        "m0"
      )
    ) AS "twice_before"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__day" ASC
