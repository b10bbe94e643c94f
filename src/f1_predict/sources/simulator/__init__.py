"""Built-in data: simulated seasons as canonical tables."""
