"""What runs in a model, seen operator by operator, whatever it means."""
