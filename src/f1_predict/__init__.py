"""f1-predict: forecasts Formula 1 races from pictures and tables together."""

__version__ = "0.1.0"
