"""Latency tables: made, read, summarised, exported, imported, rechecked."""
