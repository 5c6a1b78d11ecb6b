-- {"metrics": ["paid_revenue"], "time": {"grain": "month", "start": "2025-01-01", "end": "2026-01-01"}}
-- {"p0": "paid", "p1": "1735686000", "p2": "1767222000"}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      CAST(DATE_TRUNC('month', "orders"."ordered_at" AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin') AS DATE) AS "k0",
      "orders"."amount" AS "v0"
    FROM "shop"."orders" AS "orders"
    WHERE
      (
        CAST("orders"."status" AS TEXT) = CAST(%(p0)s AS TEXT)
        AND (
          EXTRACT(EPOCH FROM "orders"."ordered_at") >= CAST(%(p1)s AS DECIMAL)
          AND EXTRACT(EPOCH FROM "orders"."ordered_at") < CAST(%(p2)s AS DECIMAL)
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
