"""The sealed matter of every generation, the ledger that says which is live, and the read verbs."""
