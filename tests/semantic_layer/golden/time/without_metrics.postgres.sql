-- {"dimensions": ["user__region", "order__channel"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    "k1"
  FROM (
    SELECT
      "users"."region" AS "k0",
      "orders"."channel" AS "k1"
    FROM "site"."orders" AS "orders"
    FULL JOIN "site"."users" AS "users"
      ON "orders"."user_id" = "users"."user_id"
  ) AS "r"
  GROUP BY
    "k0",
    "k1"
), answer AS (
  SELECT
    "part_0"."k0" AS "user__region",
    "part_0"."k1" AS "order__channel"
  FROM part_0
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "user__region" COLLATE "C" ASC,
  "order__channel" COLLATE "C" ASC
