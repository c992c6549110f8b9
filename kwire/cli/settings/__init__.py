"""The settings of a broker from flags, files and environment variables."""
