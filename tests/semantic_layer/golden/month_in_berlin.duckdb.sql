-- {"metrics": ["paid_revenue"], "time": {"grain": "month", "start": "2025-01-01", "end": "2026-01-01"}}
-- {"p0": "paid", "p1": "2024-12-31 23:00:00", "p2": "2025-12-31 23:00:00"}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      CAST(DATE_TRUNC('month', "orders"."ordered_at" AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin') AS DATE) AS "k0",
      "orders"."amount" AS "v0"
    FROM "shop"."main"."orders" AS "orders"
    WHERE
      (
        "orders"."status" = CAST($p0 AS TEXT)
        AND (
          "orders"."ordered_at" >= CAST($p1 AS TIMESTAMP)
          AND "orders"."ordered_at" < CAST($p2 AS TIMESTAMP)
        )
      )
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__month",
    "m0" AS "paid_revenue"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__month" ASC
