"""The HTTP interface to the test bench of a broker or a proxy, under ``/v1``.

Responsible for: routes, JSON bodies, access control, the OpenAPI description. Must not depend on: listening
(``kwire.control.server``).
"""
