-- {"metrics": ["amount_per_unit"], "dimensions": ["store__city"], "limit": 10}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "stores"."city" AS "k0",
      "orders"."amount" AS "v0"
    FROM "shop"."main"."orders" AS "orders"
    LEFT JOIN "shop"."main"."stores" AS "stores"
      ON "orders"."store_id" = "stores"."store_id"
  ) AS "r"
  GROUP BY
    "k0"
), part_1 AS (
  SELECT
    "k0",
    SUM("v0") AS "m1"
  FROM (
    SELECT
      "stores"."city" AS "k0",
      "items"."quantity" AS "v0"
    FROM "shop"."main"."items" AS "items"
    LEFT JOIN "shop"."main"."orders" AS "orders"
      ON "items"."order_id" = "orders"."order_id"
    LEFT JOIN "shop"."main"."stores" AS "stores"
      ON "orders"."store_id" = "stores"."store_id"
  ) AS "r"
  GROUP BY
    "k0"
), groups AS (
  SELECT
    "k0"
  FROM part_0
  UNION
  SELECT
    "k0"
  FROM part_1
), answer AS (
  SELECT
    "groups"."k0" AS "store__city",
    (
      "m0"
    ) / NULLIF((
      "m1"
    ), 0) AS "amount_per_unit"
  FROM groups
  LEFT JOIN part_0
    ON "groups"."k0" IS NOT DISTINCT FROM "part_0"."k0"
  LEFT JOIN part_1
    ON "groups"."k0" IS NOT DISTINCT FROM "part_1"."k0"
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "store__city" ASC
LIMIT 10
