"""The scripts for configs, ACLs, tokens and transactions."""
