"""SQL in and out: the only home of sqlglot."""
