"""The lowest floor: frozen records, the op-level description of a network, files, provenance."""
