"""From the spec of a message to the functions that decode and encode it."""
