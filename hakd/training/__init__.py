"""Training recipes: one loop, its schedules and losses, and what is done with them."""
