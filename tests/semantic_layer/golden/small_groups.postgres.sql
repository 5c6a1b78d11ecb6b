-- {"metrics": ["customer_count"], "dimensions": ["customer__region"]}
-- {}
WITH part_0 AS (
  SELECT
    "k0",
    COUNT("v0") AS "m0",
    COUNT(*) AS "wh.rows"
  FROM (
    SELECT
      "customers"."region" AS "k0",
      "customers"."customer_id" AS "v0"
    FROM "crm"."customers" AS "customers"
  ) AS "r"
  GROUP BY
    "k0"
), answer AS (
  SELECT
    "part_0"."k0" AS "customer__region",
    "m0" AS "customer_count"
  FROM part_0
  WHERE
    COALESCE("part_0"."wh.rows", 5) >= 5
)
SELECT
  *,
  COUNT(*) OVER () AS "wh.total_rows"
FROM answer
ORDER BY
  "customer__region" COLLATE "C" ASC

-- totals
WITH part_0 AS (
  SELECT
    "k0",
    COUNT("v0") AS "m0",
    COUNT(*) AS "wh.rows"
  FROM (
    SELECT
      "customers"."region" AS "k0",
      "customers"."customer_id" AS "v0"
    FROM "crm"."customers" AS "customers"
  ) AS "r"
  GROUP BY
    "k0"
), shown AS (
  SELECT
    "part_0"."k0" AS "k0"
  FROM part_0
  WHERE
    COALESCE("part_0"."wh.rows", 5) >= 5
), total_0 AS (
  SELECT
    COUNT("v0") AS "m0",
    COUNT(*) AS "wh.rows"
  FROM (
    SELECT
      *
    FROM (
      SELECT
        "customers"."region" AS "k0",
        "customers"."customer_id" AS "v0"
      FROM "crm"."customers" AS "customers"
    ) AS "r"
    WHERE
      EXISTS(
        SELECT
          1
        FROM shown
        WHERE
          "shown"."k0" IS NOT DISTINCT FROM "r"."k0"
      )
  ) AS "r"
)
SELECT
  "m0" AS "customer_count"
FROM total_0
