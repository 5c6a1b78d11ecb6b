-- {"metrics": ["orders"], "dimensions": ["metric_time__season"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "site_days"."season" AS "k0",
      1 AS "v0"
    FROM "site"."main"."orders" AS "orders"
    LEFT JOIN "site"."main"."days" AS "site_days"
      ON "orders"."day" = "site_days"."day"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__season",
    "m0" AS "orders"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__season" ASC
