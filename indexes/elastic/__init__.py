"""Passages and vectors in Elasticsearch, for those who outgrow one node. The only home of its client."""
