"""From a training checkpoint to what is shipped."""
