"""Raw data in: the only code that knows foreign file layouts or touches the network."""
