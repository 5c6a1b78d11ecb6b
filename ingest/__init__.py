"""Reads sources, checks them against their contract, and seals generations."""
