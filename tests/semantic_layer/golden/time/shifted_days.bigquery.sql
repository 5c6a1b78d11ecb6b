-- {"metrics": ["growth"], "dimensions": ["metric_time__day"], "time": {"end": "2025-02-10"}}
-- {"p0": "2025-02-10", "p1": "2025-02-10"}
WITH part_0 AS (
  SELECT
    `k0`,
    SUM(`v0`) AS `m0`
  FROM (
    SELECT
      `orders`.`day` AS `k0`,
      1 AS `v0`
    FROM `site`.`orders` AS `orders`
    WHERE
      `orders`.`day` < CAST(@p0 AS DATE)
  ) AS `r`
  GROUP BY
    `k0`
), part_1 AS (
  SELECT
    `k0`,
    SUM(`p0`) AS `m1`
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
          1 AS `v0`
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
        `site_days`.`day` < CAST(@p1 AS DATE)
    ) AS `wh_clock_0`
      ON CAST(`wh_clock_0`.`t` - INTERVAL 1 DAY AS DATE) = `wh_periods`.`t0`
  ) AS `r`
  GROUP BY
    `k0`
), `groups` AS (
  SELECT
    `k0`
  FROM part_0
  UNION DISTINCT
  SELECT
    `k0`
  FROM part_1
), answer AS (
  SELECT
    `groups`.`k0` AS `metric_time__day`,
    (
      `m0`
    ) - (
      `m1`
    ) AS `growth`
  FROM `groups`
  LEFT JOIN part_0
    ON `groups`.`k0` IS NOT DISTINCT FROM `part_0`.`k0`
  LEFT JOIN part_1
    ON `groups`.`k0` IS NOT DISTINCT FROM `part_1`.`k0`
)
SELECT
  *,
  COUNT(*) OVER () AS `wh_total_rows`
FROM answer
ORDER BY
  `metric_time__day` ASC NULLS LAST
