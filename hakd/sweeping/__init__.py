"""What is timed on a device: parts for the latency table, pairs for verification, whole candidates."""
