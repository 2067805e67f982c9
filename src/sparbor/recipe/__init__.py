"""What is to be done to a model, and how its layers share it."""
