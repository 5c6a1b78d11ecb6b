-- {"metrics": ["stock"], "time": {"grain": "month"}}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      *
    FROM (
      SELECT
        *,
        MAX("t") OVER (PARTITION BY "k0") AS "moment"
      FROM (
        SELECT
          CAST(DATE_TRUNC('month', "levels"."day") AS DATE) AS "k0",
          "levels"."units" AS "v0",
          "levels"."day" AS "t"
        FROM "shop"."main"."levels" AS "levels"
      ) AS "r"
    ) AS "r"
    WHERE
      "t" = "moment"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__month",
    "m0" AS "stock"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__month" ASC
