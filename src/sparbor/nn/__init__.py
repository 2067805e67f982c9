"""Layers with their masks and dendrites, and where a model has them."""
