"""Configs of topics, brokers and groups: which there are, their values, and which value applies."""
