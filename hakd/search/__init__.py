"""Chooses widths on open boards: verified choices, tables of tiles, certificates, fleets."""
