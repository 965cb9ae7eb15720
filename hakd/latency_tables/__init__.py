"""A latency table as a product: made, read, summarised, exported, imported, rechecked."""
