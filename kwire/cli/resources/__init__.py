"""Commands for topics, groups, users and ACLs."""
