-- {"metrics": ["loyal_revenue"], "dimensions": ["order__channel"]}
-- {"p0": 1.0}
WITH part_0 AS (
  SELECT
    "k0",
    SUM(CAST("v0" AS Nullable(Decimal(38, 0)))) AS "m0"
  FROM (
    SELECT
      "orders"."channel" AS "k0",
      "orders"."amount" AS "v0"
    FROM "site"."orders" AS "orders"
    LEFT JOIN (
      WITH part_0 AS (
        SELECT
          "k0",
          SUM("v0") AS "m0"
        FROM (
          SELECT
            "orders"."user_id" AS "k0",
            1 AS "v0"
          FROM "site"."orders" AS "orders"
        ) AS "r"
        GROUP BY
          "k0"
      )
      SELECT
        "part_0"."k0" AS "user",
        "m0" AS "orders"
      FROM part_0
    ) AS "wh.lookup_0"
      ON "orders"."user_id" = "wh.lookup_0"."user"
    WHERE
      CASE
        WHEN isNaN(CAST("wh.lookup_0"."orders" AS Nullable(Float64)))
        THEN NULL
        ELSE CAST("wh.lookup_0"."orders" AS Nullable(Float64))
      END > CAST({p0: Nullable(Float64)} AS Nullable(Float64))
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "order__channel",
    "m0" AS "loyal_revenue"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "order__channel" ASC
SETTINGS join_use_nulls = 1, aggregate_functions_null_for_empty = 1, prefer_column_name_to_alias = 1, enable_extended_results_for_datetime_functions = 1
