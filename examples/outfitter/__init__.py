"""The demo workspace: a retailer's data products, and the seeded generator of their data."""
