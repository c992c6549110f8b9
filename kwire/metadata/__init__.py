"""Topics, configs and brokers as one image, and the commands that change it. Pure."""
