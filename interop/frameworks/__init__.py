"""Frameworks: applications that read one topic and write another, and what their output must be."""
