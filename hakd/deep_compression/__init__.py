"""Deep Compression (Han et al., arXiv 1510.00149): prune, share weights, code, decode."""
