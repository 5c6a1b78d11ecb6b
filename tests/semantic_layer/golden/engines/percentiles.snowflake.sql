-- {"metrics": ["d07", "p90", "average_cost"], "dimensions": ["run__kind"]}
WITH part_0 AS (
  SELECT
    "k0",
    PERCENTILE_DISC(0.07) WITHIN GROUP (ORDER BY
      "v0") AS "m0",
    PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY
      CAST("v1" AS DOUBLE)) AS "m1",
    CAST(SUM("v2") AS DOUBLE) / NULLIF(COUNT("v2"), 0) AS "m2"
  FROM (
    SELECT
      "runs"."kind" AS "k0",
      "runs"."id" AS "v0",
      "runs"."x" AS "v1",
      "runs"."cost" AS "v2"
    FROM "lab"."runs" AS "runs"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "run__kind",
    "m0" AS "d07",
    "m1" AS "p90",
    "m2" AS "average_cost"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "run__kind" ASC
