"""Filling a broker: topics, users and records from Python, JSON and Avro files."""
