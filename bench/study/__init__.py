"""Accuracy: sparse models against dense and other sparse ones, over many settings and seeds."""
