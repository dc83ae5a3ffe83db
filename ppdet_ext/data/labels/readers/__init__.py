"""One file for each label tool: `looks_like` tells its files by their content, `read` makes a `LabelSet` of them."""
