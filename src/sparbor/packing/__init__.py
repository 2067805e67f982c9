"""Weights and masks as slots and synapse words."""
