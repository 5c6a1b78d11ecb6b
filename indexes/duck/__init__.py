"""DuckDB: the sealed tables of a generation and the hardened connections they are read through."""
