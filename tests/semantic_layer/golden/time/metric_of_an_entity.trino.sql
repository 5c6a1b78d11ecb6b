-- {"metrics": ["loyal_revenue"], "dimensions": ["order__channel"]}
-- {"p0": 1.0}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
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
        WHEN IS_NAN(CAST("wh.lookup_0"."orders" AS DOUBLE))
        THEN NULL
        ELSE CAST("wh.lookup_0"."orders" AS DOUBLE)
      END > CAST(:p0 AS DOUBLE)
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
