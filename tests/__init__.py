"""A regular package, because iterative-stratification installs one of this name, which would hide a namespace package."""
