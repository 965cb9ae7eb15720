"""How much each channel matters: Fisher scores and what was recorded of them."""
