-- {"metrics": ["revenue"]}
-- {}
WITH part_0 AS (
  SELECT
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "orders"."amount" AS "v0"
    FROM "shop"."orders" AS "orders"
  ) AS "r"
), answer AS (
  SELECT
    "m0" AS "revenue"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
