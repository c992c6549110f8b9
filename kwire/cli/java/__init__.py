"""Forms of the Java tools: command lines and exits, names of errors, order of hash maps, dates, JSON, expressions."""
