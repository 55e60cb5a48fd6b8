"""Which channels stay, which return, and when."""
