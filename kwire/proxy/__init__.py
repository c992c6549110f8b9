"""A proxy between clients and any Kafka cluster, with kwire's fault rules, request log and recordings.

``rewriting`` finds the addresses of nodes in responses and puts the proxy's own in their place; ``frames`` reads a
stream frame by frame; ``connection`` passes one client's requests on and the responses back, through the hooks;
``proxy`` has a listener for each node of the cluster; ``serving`` runs it on sockets.
"""
