-- {"metrics": ["runs"], "dimensions": ["metric_time__extract_dow"], "time": {"zone": "Europe/Berlin"}}
WITH part_0 AS (
  SELECT
    `k0`,
    COUNT(`v0`) AS `m0`
  FROM (
    SELECT
      CAST((
        MOD(EXTRACT(DAYOFWEEK FROM DATETIME(`runs`.`at`, 'Europe/Berlin')) + 5, 7) + 1
      ) AS INT64) AS `k0`,
      1 AS `v0`
    FROM `lab`.`runs` AS `runs`
  ) AS `r`
  GROUP BY
    `k0`
), answer AS (
  SELECT
    `part_0`.`k0` AS `metric_time__extract_dow`,
    `m0` AS `runs`
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS `wh_total_rows`
FROM answer
ORDER BY
  `metric_time__extract_dow` ASC NULLS LAST
