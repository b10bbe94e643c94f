"""Pictures, encoder, dataset, fusion network and the tabular baseline."""
