"""Security: pure values of authorization, authentication and quotas."""
