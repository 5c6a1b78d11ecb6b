"""What data means, who may see it, and how a metric is computed. Values and pure functions."""
