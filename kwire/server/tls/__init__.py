"""TLS of the listeners: certificates, the handshake, and the bytes afterwards."""
