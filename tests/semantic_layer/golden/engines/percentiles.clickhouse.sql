-- {"metrics": ["d07", "p90", "average_cost"], "dimensions": ["run__kind"]}
WITH part_0 AS (
  SELECT
    "k0",
    CASE
      WHEN COUNT("v0") > 0
      THEN arrayElement(
        arraySort(groupArray("v0")),
        GREATEST(
          CAST(CEIL((
            CAST(COUNT("v0") * 7 AS Nullable(Float64)) / 100
          )) AS Nullable(Int64)),
          1
        )
      )
    END AS "m0",
    quantileExactInclusive(0.9)(CAST("v1" AS Nullable(Float64))) AS "m1",
    CAST(SUM("v2") AS Nullable(Float64)) / nullIf(COUNT("v2"), 0) AS "m2"
  FROM (
    SELECT
      "runs"."kind" AS "k0",
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
SETTINGS join_use_nulls = 1, aggregate_functions_null_for_empty = 1, prefer_column_name_to_alias = 1, enable_extended_results_for_datetime_functions = 1
