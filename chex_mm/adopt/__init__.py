"""From the config of a dense model to that of a run that explores it."""
