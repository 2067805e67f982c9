"""Sparse sentence encoders: from a pre-trained one to classifiers and embeddings, trained, deployed and timed."""
