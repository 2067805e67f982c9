"""Deployed models: latency, memory and file size, against rivals."""
