-- {"metrics": ["orders_3_days"], "dimensions": ["metric_time__month", "user__region"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    "k1",
    "m0"
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (PARTITION BY "k0", "k1" ORDER BY "kt" DESC NULLS LAST) AS "n"
    FROM (
      SELECT
        "k0",
        "k1",
        "kt",
        SUM("p0") AS "m0"
      FROM (
        SELECT
          CAST(DATE_TRUNC('month', "wh.clock_0"."t") AS DATE) AS "k0",
          "wh.periods"."k1" AS "k1",
          "wh.clock_0"."t" AS "kt",
          "wh.periods"."p0" AS "p0"
        FROM (
          SELECT
            "t0",
            "k1",
            SUM("v0") AS "p0"
          FROM (
            SELECT
              "orders"."day" AS "t0",
              "users"."region" AS "k1",
              1 AS "v0"
            FROM "site"."orders" AS "orders"
            LEFT JOIN "site"."users" AS "users"
              ON "orders"."user_id" = "users"."user_id"
          ) AS "r"
          GROUP BY
            "t0",
            "k1"
        ) AS "wh.periods"
        INNER JOIN (
          SELECT DISTINCT
            "site_days"."day" AS "t"
          FROM "site"."days" AS "site_days"
        ) AS "wh.clock_0"
          ON "wh.periods"."t0" <= "wh.clock_0"."t"
          AND "wh.periods"."t0" > CAST("wh.clock_0"."t" - INTERVAL '3 DAY' AS DATE)
      ) AS "r"
      GROUP BY
        "k0",
        "k1",
        "kt"
    ) AS "r"
  ) AS "r"
  WHERE
    "n" = 1
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__month",
    "part_0"."k1" AS "user__region",
    "m0" AS "orders_3_days"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__month" ASC,
  "user__region" COLLATE "C" ASC
