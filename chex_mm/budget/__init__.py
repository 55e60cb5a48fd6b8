"""What a sub-model may cost, and how the budget is shared out over groups."""
