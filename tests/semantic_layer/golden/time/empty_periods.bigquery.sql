-- {"metrics": ["filled"], "dimensions": ["metric_time__month", "order__channel"], "filters": {"field": "metric_time__day", "op": "ge", "value": "2025-02-01"}}
-- {"p0": "2025-02-01", "p1": "2025-02-01"}
WITH part_0 AS (
  SELECT
    `p`.`k0` AS `k0`,
    `g`.`k1` AS `k1`,
    `g`.`m0`
  FROM (
    SELECT
      `k0`
    FROM (
      SELECT
        CAST(DATE_TRUNC(`site_days`.`day`, MONTH) AS DATE) AS `k0`
      FROM `site`.`days` AS `site_days`
      WHERE
        `site_days`.`day` >= CAST(@p1 AS DATE)
    ) AS `r`
    GROUP BY
      `k0`
  ) AS `p`
  LEFT JOIN (
    SELECT
      `k0`,
      `k1`,
      SUM(`v0`) AS `m0`
    FROM (
      SELECT
        CAST(DATE_TRUNC(`orders`.`day`, MONTH) AS DATE) AS `k0`,
        `orders`.`channel` AS `k1`,
        1 AS `v0`
      FROM `site`.`orders` AS `orders`
      WHERE
        `orders`.`day` >= CAST(@p0 AS DATE)
    ) AS `r`
    GROUP BY
      `k0`,
      `k1`
  ) AS `g`
    ON `p`.`k0` = `g`.`k0`
), answer AS (
  SELECT
    `part_0`.`k0` AS `metric_time__month`,
    `part_0`.`k1` AS `order__channel`,
    (
      COALESCE(`m0`, 0)
    ) AS `filled`
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS `wh_total_rows`
FROM answer
ORDER BY
  `metric_time__month` ASC NULLS LAST,
  `order__channel` ASC NULLS LAST
