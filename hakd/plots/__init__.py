"""Figures of a study: Pareto plots and latency staircases, for print, grey paper and colour-blind readers."""
