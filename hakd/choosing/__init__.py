"""Choosing widths: snapping to a device's curves, the baselines without a device, verify and repair."""
