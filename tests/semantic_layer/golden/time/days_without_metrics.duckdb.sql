-- {"dimensions": ["metric_time__month"], "filters": {"field": "metric_time__day", "op": "ge", "value": "2025-02-01"}}
-- {"p0": "2025-02-01"}
WITH part_0 AS (
  SELECT
    "k0"
  FROM (
    SELECT
      CAST(DATE_TRUNC('month', "site_days"."day") AS DATE) AS "k0"
    FROM "site"."main"."days" AS "site_days"
    WHERE
      "site_days"."day" >= CAST($p0 AS DATE)
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__month"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__month" ASC
