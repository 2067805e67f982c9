"""Trained models in directories as Hugging Face has them: dense weights that any tool reads, masks beside them."""
