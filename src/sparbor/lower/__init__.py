"""A trained model becomes a program."""
