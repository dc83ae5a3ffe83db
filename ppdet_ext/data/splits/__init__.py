"""Which images are for training and which for evaluation."""
