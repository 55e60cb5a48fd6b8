"""The sub-model that trains: which channels are active, and how it is held."""
