"""The scripts for nodes and the cluster: formatting, starting, features, the quorum."""
