"""The data set before training: what is in it, what is wrong with it, what of a configuration does not suit it."""
