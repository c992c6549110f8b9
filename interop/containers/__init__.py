"""Real containers of the image: an engine (docker or podman), compose files and Testcontainers."""
