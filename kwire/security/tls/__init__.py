"""TLS: settings, key stores, certificates, and what a certificate says about a client."""
