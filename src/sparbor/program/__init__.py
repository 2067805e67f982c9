"""What a model is lowered to, and its file."""
