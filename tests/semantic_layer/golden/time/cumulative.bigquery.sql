-- {"metrics": ["revenue_so_far"], "dimensions": ["metric_time__day"], "filters": {"field": "metric_time__day", "op": "ge", "value": "2025-02-01"}}
-- {"p0": "2025-02-01"}
WITH part_0 AS (
  SELECT
    `k0`,
    SUM(`p0`) AS `m0`
  FROM (
    SELECT
      `wh_clock_0`.`t` AS `k0`,
      `wh_periods`.`p0` AS `p0`
    FROM (
      SELECT
        `t0`,
        SUM(`v0`) AS `p0`
      FROM (
        SELECT
          `orders`.`day` AS `t0`,
          `orders`.`amount` AS `v0`
        FROM `site`.`orders` AS `orders`
      ) AS `r`
      GROUP BY
        `t0`
    ) AS `wh_periods`
    INNER JOIN (
      SELECT DISTINCT
        `site_days`.`day` AS `t`
      FROM `site`.`days` AS `site_days`
      WHERE
        `site_days`.`day` >= CAST(@p0 AS DATE)
    ) AS `wh_clock_0`
      ON `wh_periods`.`t0` <= `wh_clock_0`.`t`
  ) AS `r`
  GROUP BY
    `k0`
), answer AS (
  SELECT
    `part_0`.`k0` AS `metric_time__day`,
    `m0` AS `revenue_so_far`
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS `wh_total_rows`
FROM answer
ORDER BY
  `metric_time__day` ASC NULLS LAST
