"""PostgreSQL: snapshots for ingestion, live records for lookups, and the embedded server of the demo."""
