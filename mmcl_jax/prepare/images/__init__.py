"""Reading images of any format, depth and size, and fitting them to one shape."""
