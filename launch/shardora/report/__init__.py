"""A run's folder as a page, as TensorBoard's event files, and followed while it grows."""
