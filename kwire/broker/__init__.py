"""One broker: its parts, made from storage, coordinators, metadata and security, and connected."""
