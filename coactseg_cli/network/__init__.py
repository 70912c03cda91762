"""The network, its inputs, losses, inference and checkpoints."""
