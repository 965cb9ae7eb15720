"""Candidates as files: export, test accuracy, benchmark."""
