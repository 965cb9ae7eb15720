"""A study: its configuration and schema, devices, candidates, fleets, and what its scripts share."""
