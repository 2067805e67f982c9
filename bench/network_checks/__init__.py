"""Whether the networks of the zoo train sparse, deploy, and answer as PyTorch does."""
