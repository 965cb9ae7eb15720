"""Latency staircases: estimates from bursts, curves, what to time next, predictions of whole networks."""
