"""What a study found: summary, comparison of methods, verification; numbers from tables, no board."""
