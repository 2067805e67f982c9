"""What a model's layers cost on this machine."""
