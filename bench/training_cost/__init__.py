"""What training sparse costs: time and memory."""
