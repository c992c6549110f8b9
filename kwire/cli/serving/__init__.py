"""Commands that run a broker or a proxy, and what they need before it is ready."""
