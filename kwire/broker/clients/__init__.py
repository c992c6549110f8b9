"""The clients of a broker: what is known of each, hooks around their requests, quotas, authorization, the audit log."""
