-- {"metrics": ["season_before"], "dimensions": ["metric_time__season"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("p0") AS "m0"
  FROM (
    SELECT
      "site_days_2"."season" AS "k0",
      "wh.periods"."p0" AS "p0"
    FROM (
      SELECT
        "t0",
        SUM("v0") AS "p0"
      FROM (
        SELECT
          "orders"."day" AS "t0",
          1 AS "v0"
        FROM "site"."orders" AS "orders"
      ) AS "r"
      GROUP BY
        "t0"
    ) AS "wh.periods"
    INNER JOIN (
      SELECT
        "was"."d" AS "was",
        "now"."d" AS "t"
      FROM (
        SELECT
          "d",
          "place",
          DENSE_RANK() OVER (ORDER BY "first") AS "rank"
        FROM (
          SELECT
            "d",
            MIN("d") OVER (PARTITION BY "c") AS "first",
            ROW_NUMBER() OVER (PARTITION BY "c" ORDER BY "d") AS "place"
          FROM (
            SELECT DISTINCT
              "site_days"."day" AS "d",
              "site_days"."season" AS "c"
            FROM "site"."days" AS "site_days"
          ) AS "rows"
        ) AS "placed"
      ) AS "was"
      INNER JOIN (
        SELECT
          "d",
          "place",
          DENSE_RANK() OVER (ORDER BY "first") AS "rank"
        FROM (
          SELECT
            "d",
            MIN("d") OVER (PARTITION BY "c") AS "first",
            ROW_NUMBER() OVER (PARTITION BY "c" ORDER BY "d") AS "place"
          FROM (
            SELECT DISTINCT
              "site_days"."day" AS "d",
              "site_days"."season" AS "c"
            FROM "site"."days" AS "site_days"
          ) AS "rows"
        ) AS "placed"
      ) AS "now"
        ON "now"."rank" = "was"."rank" + 1 AND "now"."place" = 1
    ) AS "wh.clock_0"
      ON "wh.clock_0"."was" = "wh.periods"."t0"
    LEFT JOIN "site"."days" AS "site_days_2"
      ON "wh.clock_0"."t" = "site_days_2"."day"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "metric_time__season",
    (
      "m0"
    ) AS "season_before"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__season" COLLATE "C" ASC
