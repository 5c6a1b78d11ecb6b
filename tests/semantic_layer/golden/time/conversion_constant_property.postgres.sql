-- {"metrics": ["conversions_ever"], "dimensions": ["user__region"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    SUM("v0") AS "m0"
  FROM (
    SELECT
      "users"."region" AS "k0",
      CASE WHEN NOT (
        "visits"."visit_id"
      ) IS NULL THEN 1 ELSE 0 END AS "v0"
    FROM "site"."visits" AS "visits"
    LEFT JOIN "site"."users" AS "users"
      ON "visits"."user_id" = "users"."user_id"
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
        RANK() OVER (PARTITION BY "e"."id" ORDER BY "b"."t" DESC NULLS LAST, "b"."o0") AS "n"
      FROM (
        SELECT
          "users"."region" AS "k0",
          "visits"."visit_id" AS "o0",
          "visits"."user_id" AS "m0",
          "visits"."page" AS "m1",
          "visits"."day" AS "t"
        FROM "site"."visits" AS "visits"
        LEFT JOIN "site"."users" AS "users"
          ON "visits"."user_id" = "users"."user_id"
      ) AS "b"
      INNER JOIN (
        SELECT
          *,
          ROW_NUMBER() OVER () AS "id"
        FROM (
          SELECT
            "orders"."user_id" AS "m0",
            "orders"."channel" AS "m1",
            "orders"."day" AS "t",
            1 AS "v0"
          FROM "site"."orders" AS "orders"
        ) AS "r"
      ) AS "e"
        ON "b"."m0" = "e"."m0" AND "b"."m1" = "e"."m1" AND "b"."t" <= "e"."t"
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
    "groups"."k0" AS "user__region",
    "m1" AS "conversions_ever"
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
  "user__region" COLLATE "C" ASC
