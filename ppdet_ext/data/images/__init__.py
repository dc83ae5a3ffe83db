"""Picture files: decoded, measured, checked."""
