"""From a question about metrics to a plan: which rows of which tables, aggregated at which grain, for whom."""
