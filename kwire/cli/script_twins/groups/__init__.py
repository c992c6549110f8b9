"""The scripts for groups."""
