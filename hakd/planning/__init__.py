"""What a study will cost, before anything is timed or trained."""
