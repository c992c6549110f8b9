"""Kafka's refusals as HTTP answers.

Responsible for: the status and the body. Must not depend on: routes.
"""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from kwire.errors import Code, KafkaError


def refused(refusal: KafkaError) -> Response:
    """Answer with a KafkaError: 404 for a topic that does not exist, 409 for one that exists, else 400."""
    statuses = {Code.UNKNOWN_TOPIC_OR_PARTITION: 404, Code.TOPIC_ALREADY_EXISTS: 409, Code.GROUP_ID_NOT_FOUND: 404}
    answer = {"error": refusal.code.name, "message": refusal.message}
    return JSONResponse(answer, status_code=statuses.get(refusal.code, 400))
