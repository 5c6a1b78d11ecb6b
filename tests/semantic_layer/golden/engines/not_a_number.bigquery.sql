-- {"metrics": ["runs"], "filters": {"not": {"field": "run__odd", "op": "gt", "value": 1}}}
WITH part_0 AS (
  SELECT
    COUNT(`v0`) AS `m0`
  FROM (
    SELECT
      1 AS `v0`
    FROM `lab`.`runs` AS `runs`
    WHERE
      NOT (
        CASE WHEN IS_NAN(`runs`.`odd`) THEN NULL ELSE `runs`.`odd` END > CAST(@p0 AS FLOAT64)
      )
  ) AS `r`
), answer AS (
  SELECT
    `m0` AS `runs`
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS `wh_total_rows`
FROM answer
