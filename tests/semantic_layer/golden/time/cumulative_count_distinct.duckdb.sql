-- {"metrics": ["buyers_2_days"], "dimensions": ["metric_time__day"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    COUNT(DISTINCT "v0") AS "m0"
  FROM (
    SELECT
      "wh.clock_0"."t" AS "k0",
      "orders"."user_id" AS "v0"
    FROM "site"."main"."orders" AS "orders"
    INNER JOIN (
      SELECT DISTINCT
        "site_days"."day" AS "t"
      FROM "site"."main"."days" AS "site_days"
    ) AS "wh.clock_0"
      ON "orders"."day" <= "wh.clock_0"."t"
      AND "orders"."day" > CAST("wh.clock_0"."t" - INTERVAL '2' DAY AS DATE)
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__day",
    "m0" AS "buyers_2_days"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__day" ASC
