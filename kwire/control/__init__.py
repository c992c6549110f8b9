"""Control of a running broker over HTTP: faults, the clock, the request log, waiting for conditions.

Off unless ``kwire serve --control`` asks for it. ``request_log`` keeps the last requests, ``app`` answers HTTP requests
under ``/v1``, ``openapi`` describes them, ``server`` listens.
"""
