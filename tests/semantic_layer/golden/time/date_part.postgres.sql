-- {"metrics": ["orders"], "dimensions": ["metric_time__extract_dow"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      CAST(EXTRACT(ISODOW FROM "orders"."day") AS BIGINT) AS "k0",
      1 AS "v0"
    FROM "site"."orders" AS "orders"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__extract_dow",
    "m0" AS "orders"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__extract_dow" ASC
