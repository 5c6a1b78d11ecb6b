-- {"metrics": ["d07", "p90", "average_cost"], "dimensions": ["run__kind"]}
WITH part_0 AS (
  SELECT
    "k0",
    ARRAY_ELEMENT(
      ARRAY_AGG("v0" ORDER BY "v0") FILTER(WHERE
        NOT "v0" IS NULL),
      GREATEST(CAST(CEIL((
        CAST(COUNT("v0") * 7 AS DOUBLE PRECISION) / 100
      )) AS BIGINT), 1)
    ) AS "m0",
    ARRAY_ELEMENT(
      ARRAY_AGG(CAST("v1" AS DOUBLE PRECISION) ORDER BY CAST("v1" AS DOUBLE PRECISION)) FILTER(WHERE
        NOT CAST("v1" AS DOUBLE PRECISION) IS NULL),
      CAST(FLOOR((
        CAST((
          COUNT("v1") - 1
        ) * 9 AS DOUBLE PRECISION) / 10
      )) AS BIGINT) + 1
    ) + (
      ARRAY_ELEMENT(
        ARRAY_AGG(CAST("v1" AS DOUBLE PRECISION) ORDER BY CAST("v1" AS DOUBLE PRECISION)) FILTER(WHERE
          NOT CAST("v1" AS DOUBLE PRECISION) IS NULL),
        CAST(CEIL((
          CAST((
            COUNT("v1") - 1
          ) * 9 AS DOUBLE PRECISION) / 10
        )) AS BIGINT) + 1
      ) - ARRAY_ELEMENT(
        ARRAY_AGG(CAST("v1" AS DOUBLE PRECISION) ORDER BY CAST("v1" AS DOUBLE PRECISION)) FILTER(WHERE
          NOT CAST("v1" AS DOUBLE PRECISION) IS NULL),
        CAST(FLOOR((
          CAST((
            COUNT("v1") - 1
          ) * 9 AS DOUBLE PRECISION) / 10
        )) AS BIGINT) + 1
      )
    ) * (
      (
        CAST((
          COUNT("v1") - 1
        ) * 9 AS DOUBLE PRECISION) / 10
      ) - FLOOR((
        CAST((
          COUNT("v1") - 1
        ) * 9 AS DOUBLE PRECISION) / 10
      ))
    ) AS "m1",
    CAST(SUM("v2") AS DOUBLE PRECISION) / NULLIF(CAST(COUNT("v2") AS DOUBLE PRECISION), 0) AS "m2"
  FROM (
    SELECT
      NULLIF("runs"."kind", NULL) AS "k0",
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
