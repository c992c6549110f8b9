"""The stories, one file per family of APIs."""
