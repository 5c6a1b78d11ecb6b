"""Where a product's data are read from: files and folders, and PostgreSQL tables."""
