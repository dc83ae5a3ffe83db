"""Files of label tools, read and written."""
