"""From what a label tool gave to a configuration one can train with: images gathered and dealt out, choices, YAML."""
