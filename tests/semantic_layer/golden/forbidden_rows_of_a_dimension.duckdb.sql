-- {"metrics": ["revenue"], "dimensions": ["order__status"]}
-- {"p0": "EU"}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "orders"."status" AS "k0",
      "orders"."amount" AS "v0"
    FROM "shop"."main"."orders" AS "orders"
    LEFT JOIN (
      SELECT
        "customer_id",
        COALESCE("region" = CAST($p0 AS TEXT), FALSE) AS "wh.visible"
      FROM "crm"."main"."customers"
    ) AS "customers"
      ON "orders"."customer_id" = "customers"."customer_id"
    WHERE
      COALESCE("customers"."wh.visible", TRUE)
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "order__status",
    "m0" AS "revenue"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "order__status" ASC
