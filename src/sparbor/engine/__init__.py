"""Runs programs on the native engine, without torch."""
