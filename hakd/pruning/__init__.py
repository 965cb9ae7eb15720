"""Fisher scores and other criteria, the pruning loop and its trajectory, weights that are inherited."""
