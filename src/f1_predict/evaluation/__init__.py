"""How forecasts are judged: metrics, intervals, comparison. The only stage beside training that reads results."""
