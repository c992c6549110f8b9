"""DescribeConfigs: documentation, and resource types that do not exist."""

from kwire.wire.messages import DescribeConfigsRequest

TOPIC, BROKER, CLIENT_METRICS, GROUP = 2, 4, 16, 32


async def describe(client, *resources, **more):
    wanted = [
        DescribeConfigsRequest.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=None)
        for kind, name in resources
    ]
    return (await client.call(4, DescribeConfigsRequest(resources=wanted, **more))).results


async def test_each_config_has_documentation_with_include_documentation(client):
    await client.create_topic("t")
    resources = [(TOPIC, "t"), (BROKER, "1"), (CLIENT_METRICS, "m"), (GROUP, "g")]

    results = await describe(client, *resources, include_documentation=True)

    assert [result.error_code for result in results] == [0, 0, 0, 0]
    assert [one.name for result in results for one in result.configs if not one.documentation] == []


async def test_documentation_is_null_without_include_documentation(client):
    (result,) = await describe(client, (BROKER, "1"))

    assert {one.documentation for one in result.configs} == {None}


async def test_one_unknown_resource_type_fails_each_resource(client):
    await client.create_topic("t")

    results = await describe(client, (TOPIC, "t"), (64, "x"))

    assert [(result.error_code, result.configs) for result in results] == [(42, []), (42, [])]
