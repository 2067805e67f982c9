"""How many weights each layer of a model gets."""
