"""The training loop, configuration, weights, evaluation and command lines."""
