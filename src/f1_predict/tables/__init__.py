"""From foreign rows to the canonical tables, and the processed store that holds them."""
