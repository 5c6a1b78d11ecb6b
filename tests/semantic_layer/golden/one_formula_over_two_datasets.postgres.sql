-- {"metrics": ["per_customer"]}
-- {}
WITH part_0 AS (
  SELECT
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "orders"."amount" AS "v0"
    FROM "shop"."orders" AS "orders"
  ) AS "r"
), part_1 AS (
  SELECT
    COUNT(DISTINCT "v0") AS "m1"
  FROM (
    SELECT DISTINCT
      "customers"."customer_id" AS "d0",
      "customers"."customer_id" AS "v0"
    FROM "shop"."orders" AS "orders"
    LEFT JOIN "crm"."customers" AS "customers"
      ON "orders"."customer_id" = "customers"."customer_id"
    WHERE
      NOT "customers"."customer_id" IS NULL
  ) AS "r"
), answer AS (
  SELECT
    CAST("m0" AS DOUBLE PRECISION) / NULLIF("m1", 0) AS "per_customer"
  FROM part_0
  CROSS JOIN part_1
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
