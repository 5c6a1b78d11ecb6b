-- {"metrics": ["conversion"], "dimensions": ["metric_time__day"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "visits"."day" AS "k0",
      CASE WHEN NOT (
        "visits"."visit_id"
      ) IS NULL THEN 1 ELSE 0 END AS "v0"
    FROM "site"."visits" AS "visits"
  ) AS "r"
  GROUP BY
    "k0"
), part_1 AS (
  SELECT
    "k0",
    SUM("v0") AS "m1"
  FROM (
    SELECT
      *
    FROM (
      SELECT
        "b"."k0" AS "k0",
        "e"."id" AS "id",
        "e"."v0" AS "v0",
        RANK() OVER (PARTITION BY "e"."id" ORDER BY "b"."t" DESC, "b"."o0") AS "n"
      FROM (
        SELECT
          "visits"."day" AS "k0",
          "visits"."visit_id" AS "o0",
          "visits"."user_id" AS "m0",
          "visits"."day" AS "t"
        FROM "site"."visits" AS "visits"
      ) AS "b"
      INNER JOIN (
        SELECT
          *,
          ROW_NUMBER() OVER () AS "id"
        FROM (
          SELECT
            "orders"."user_id" AS "m0",
            "orders"."day" AS "t",
            1 AS "v0"
          FROM "site"."orders" AS "orders"
        ) AS "r"
      ) AS "e"
        ON "b"."m0" = "e"."m0"
        AND "b"."t" <= "e"."t"
        AND "b"."t" > "e"."t" - INTERVAL '3' DAY
    ) AS "c"
    WHERE
      "n" = 1
  ) AS "r"
  GROUP BY
    "k0"
), groups AS (
  SELECT
    "k0"
  FROM part_0
  UNION
  SELECT
    "k0"
  FROM part_1
), answer AS (
  SELECT
    "groups"."k0" AS "metric_time__day",
    CAST("m1" AS DOUBLE) / NULLIF("m0", 0) AS "conversion"
  FROM groups
  LEFT JOIN part_0
    ON "groups"."k0" IS NOT DISTINCT FROM "part_0"."k0"
  LEFT JOIN part_1
    ON "groups"."k0" IS NOT DISTINCT FROM "part_1"."k0"
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "metric_time__day" ASC
