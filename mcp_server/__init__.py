"""Serves what is live to agents: who asks, may they, ask, answer with a receipt."""
