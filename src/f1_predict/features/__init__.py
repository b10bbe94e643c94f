"""From a Snapshot to the table of features known at its horizon."""
