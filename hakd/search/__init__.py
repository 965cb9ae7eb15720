"""Drives a board in order to choose: verified choices, tables of tiles, certificates, fleets."""
