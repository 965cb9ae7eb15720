"""Choosing widths: snapping to a device's curves, the rivals without a device, verify and repair."""
