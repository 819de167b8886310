"""Files of rows, scored with a can."""
