"""Asks the questions users ask: of a candidate before it is published, of a running server over the wire."""
