-- {"metrics": ["runs"], "filters": {"not": {"field": "run__odd", "op": "gt", "value": 1}}}
WITH part_0 AS (
  SELECT
    COUNT("v0") AS "m0"
  FROM (
    SELECT
      1 AS "v0"
    FROM "lab"."runs" AS "runs"
    WHERE
      NOT (
        NULLIF("runs"."odd", CAST('NaN' AS DOUBLE)) > CAST(:p0 AS DOUBLE)
      )
  ) AS "r"
), answer AS (
  SELECT
    "m0" AS "runs"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
