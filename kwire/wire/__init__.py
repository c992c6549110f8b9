"""Bytes to objects and back, without IO: messages, record batches, frames, and what a connection may send when."""
