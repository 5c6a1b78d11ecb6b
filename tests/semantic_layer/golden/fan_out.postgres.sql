-- {"metrics": ["revenue"], "dimensions": ["item__food"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT DISTINCT
      "items"."food" AS "k0",
      "orders"."order_id" AS "d0",
      "orders"."amount" AS "v0"
    FROM "shop"."orders" AS "orders"
    LEFT JOIN "shop"."items" AS "items"
      ON "orders"."order_id" = "items"."order_id"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "item__food",
    "m0" AS "revenue"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "item__food" ASC
