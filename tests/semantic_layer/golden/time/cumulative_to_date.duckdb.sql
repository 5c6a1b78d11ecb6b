-- {"metrics": ["revenue_month_to_date"], "dimensions": ["metric_time__month"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    AVG("m0") AS "m0"
  FROM (
    SELECT
      "k0",
      "kt",
      SUM("p0") AS "m0"
    FROM (
      SELECT
        CAST(DATE_TRUNC('month', "wh.clock_0"."t") AS DATE) AS "k0",
        "wh.clock_0"."t" AS "kt",
        "wh.periods"."p0" AS "p0"
      FROM (
        SELECT
          "t0",
          SUM("v0") AS "p0"
        FROM (
          SELECT
            "orders"."day" AS "t0",
            "orders"."amount" AS "v0"
          FROM "site"."main"."orders" AS "orders"
        ) AS "r"
        GROUP BY
          "t0"
      ) AS "wh.periods"
      INNER JOIN (
        SELECT DISTINCT
          "site_days"."day" AS "t"
        FROM "site"."main"."days" AS "site_days"
      ) AS "wh.clock_0"
        ON "wh.periods"."t0" <= "wh.clock_0"."t"
        AND "wh.periods"."t0" >= CAST(DATE_TRUNC('month', "wh.clock_0"."t") AS DATE)
    ) AS "r"
    GROUP BY
      "k0",
      "kt"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__month",
    "m0" AS "revenue_month_to_date"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__month" ASC
