"""What is timed on a device and why: parts for the latency table, pairs for verification, whole candidates."""
