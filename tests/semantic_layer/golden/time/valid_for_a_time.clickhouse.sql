-- {"metrics": ["orders"], "dimensions": ["user__tier"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "plans"."tier" AS "k0",
      1 AS "v0"
    FROM "site"."orders" AS "orders"
    LEFT JOIN "site"."plans" AS "plans"
      ON "orders"."user_id" = "plans"."user_id"
      AND "orders"."day" >= "plans"."since"
      AND (
        "orders"."day" < "plans"."until" OR "plans"."until" IS NULL
      )
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "user__tier",
    "m0" AS "orders"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "user__tier" ASC
SETTINGS join_use_nulls = 1, aggregate_functions_null_for_empty = 1, prefer_column_name_to_alias = 1, enable_extended_results_for_datetime_functions = 1
