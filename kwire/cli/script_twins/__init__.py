"""JVM-free twins of the official scripts, by their official names."""
