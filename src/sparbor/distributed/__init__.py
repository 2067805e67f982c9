"""The processes that train one model together, and tensors of which each holds a part."""
