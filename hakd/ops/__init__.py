"""What a network is made of: one room for each op kind, with its shapes, weights, counts and forms."""
