"""What a candidate is worth once it is a file: export, test accuracy."""
