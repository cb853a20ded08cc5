"""Reading images of any format, depth and size, and making them fit."""
