"""mmdetection's checkpoints: reading and writing them without torch, and converting them."""
