"""Dendritic networks for PyTorch."""
