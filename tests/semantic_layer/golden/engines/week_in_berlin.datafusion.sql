-- {"metrics": ["runs"], "dimensions": ["metric_time__week"], "time": {"zone": "Europe/Berlin"}}
WITH part_0 AS (
  SELECT
    "k0",
    COUNT("v0") AS "m0"
  FROM (
    SELECT
      CAST(DATE_TRUNC('week', "runs"."at" AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin') AS DATE) AS "k0",
      1 AS "v0"
    FROM "lab"."runs" AS "runs"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__week",
    "m0" AS "runs"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__week" ASC
