"""Deployed text encoders and classifiers where other libraries expect a PyTorch model."""
