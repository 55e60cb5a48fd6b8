"""What runs inside mmengine's training loop."""
