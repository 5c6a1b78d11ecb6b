-- {"metrics": ["runs"], "time": {"start": "1969-12-31T00:00:00", "end": "2025-10-26T01:30:00"}}
WITH part_0 AS (
  SELECT
    COUNT("v0") AS "m0"
  FROM (
    SELECT
      1 AS "v0"
    FROM "lab"."runs" AS "runs"
    WHERE
      (
        "runs"."at" >= CAST(:p0 AS TIMESTAMP(6))
        AND "runs"."at" < CAST(:p1 AS TIMESTAMP(6))
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
