"""Networks as people use them: of timm, torchvision and Transformers, and written in plain PyTorch; random weights."""
