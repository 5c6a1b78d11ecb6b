-- {"metrics": ["revenue", "order_count"], "dimensions": ["customer__region"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0",
    COUNT("v1") AS "m1"
  FROM (
    SELECT
      "customers"."region" AS "k0",
      "orders"."amount" AS "v0",
      "orders"."order_id" AS "v1"
    FROM "shop"."main"."orders" AS "orders"
    LEFT JOIN "crm"."main"."customers" AS "customers"
      ON "orders"."customer_id" = "customers"."customer_id"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "customer__region",
    "m0" AS "revenue",
    "m1" AS "order_count"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "customer__region" ASC
