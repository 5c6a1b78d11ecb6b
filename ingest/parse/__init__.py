"""Files become Documents: one module a format family, one door (`ingest.parse.document.parse_document`)."""
