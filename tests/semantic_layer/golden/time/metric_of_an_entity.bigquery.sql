-- {"metrics": ["loyal_revenue"], "dimensions": ["order__channel"]}
-- {"p0": 1.0}
WITH part_0 AS (
  SELECT
    `k0`,
    SUM(`v0`) AS `m0`
  FROM (
    SELECT
      `orders`.`channel` AS `k0`,
      `orders`.`amount` AS `v0`
    FROM `site`.`orders` AS `orders`
    LEFT JOIN (
      WITH part_0 AS (
        SELECT
          `k0`,
          SUM(`v0`) AS `m0`
        FROM (
          SELECT
            `orders`.`user_id` AS `k0`,
            1 AS `v0`
          FROM `site`.`orders` AS `orders`
        ) AS `r`
        GROUP BY
          `k0`
      )
      SELECT
        `part_0`.`k0` AS `user`,
        `m0` AS `orders`
      FROM part_0
    ) AS `wh_lookup_0`
      ON `orders`.`user_id` = `wh_lookup_0`.`user`
    WHERE
      CASE
        WHEN IS_NAN(CAST(`wh_lookup_0`.`orders` AS FLOAT64))
        THEN NULL
        ELSE CAST(`wh_lookup_0`.`orders` AS FLOAT64)
      END > CAST(@p0 AS FLOAT64)
  ) AS `r`
  GROUP BY
    `k0`
), answer AS (
  SELECT
    `part_0`.`k0` AS `order__channel`,
    `m0` AS `loyal_revenue`
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS `wh_total_rows`
FROM answer
ORDER BY
  `order__channel` ASC NULLS LAST
