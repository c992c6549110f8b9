"""Responses that refuse every item of a forwarded request, where the response has no code for the whole.

Responsible for: the answer to a change while no controller can be reached, in the form of Kafka's own error responses.
Must not depend on: why the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kwire.errors import KafkaError
from kwire.wire import messages
from kwire.wire.message import Message


def refuse_items(request: Message, refusal: KafkaError) -> Any:
    """Make the response; None where the response has a code for the whole request."""
    make = _MAKE.get(request.NAME)
    return None if make is None else make(request, {"error_code": refusal.code, "error_message": refusal.message})


def _create_topics(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.CreateTopicsResponse
    return answer(topics=[answer.CreatableTopicResult(name=one.name, **error) for one in request.topics])


def _delete_topics(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.DeleteTopicsResponse
    items = [answer.DeletableTopicResult(name=one.name, topic_id=one.topic_id, **error) for one in request.topics]
    items += [answer.DeletableTopicResult(name=name, **error) for name in request.topic_names]
    return answer(responses=items)


def _create_partitions(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.CreatePartitionsResponse
    return answer(results=[answer.CreatePartitionsTopicResult(name=one.name, **error) for one in request.topics])


def _alter_configs(request: Any, error: dict[str, Any]) -> Any:
    old = isinstance(request, messages.AlterConfigsRequest)
    answer: Any = messages.AlterConfigsResponse if old else messages.IncrementalAlterConfigsResponse
    return answer(
        responses=[
            answer.AlterConfigsResourceResponse(
                resource_type=one.resource_type, resource_name=one.resource_name, **error
            )
            for one in request.resources
        ]
    )


def _create_acls(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.CreateAclsResponse
    return answer(results=[answer.AclCreationResult(**error) for _ in request.creations])


def _delete_acls(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.DeleteAclsResponse
    return answer(filter_results=[answer.DeleteAclsFilterResult(**error) for _ in request.filters])


def _client_quotas(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.AlterClientQuotasResponse
    return answer(
        entries=[
            answer.EntryData(
                entity=[
                    answer.EntityData(entity_type=part.entity_type, entity_name=part.entity_name) for part in one.entity
                ],
                **error,
            )
            for one in request.entries
        ]
    )


def _scram_credentials(request: Any, error: dict[str, Any]) -> Any:
    answer = messages.AlterUserScramCredentialsResponse
    users = dict.fromkeys(one.name for one in (*request.deletions, *request.upsertions))
    return answer(results=[answer.AlterUserScramCredentialsResult(user=user, **error) for user in users])


_MAKE: Final[Mapping[str, Callable[[Any, dict[str, Any]], Any]]] = {
    "CreateTopicsRequest": _create_topics,
    "DeleteTopicsRequest": _delete_topics,
    "CreatePartitionsRequest": _create_partitions,
    "AlterConfigsRequest": _alter_configs,
    "IncrementalAlterConfigsRequest": _alter_configs,
    "CreateAclsRequest": _create_acls,
    "DeleteAclsRequest": _delete_acls,
    "AlterClientQuotasRequest": _client_quotas,
    "AlterUserScramCredentialsRequest": _scram_credentials,
}
