"""The API table of a broker: its rows depend on the broker's settings and feature levels, and are its own."""

from peer import all_apis, apis_of

from kwire.broker.requests.table import Row, make_table


def test_two_brokers_share_no_row():
    first, second = all_apis(), all_apis()
    assert first.keys() == second.keys()
    assert all(first[key] is not second[key] for key in first)


async def test_the_table_of_a_running_broker_is_in_order_of_the_keys(broker):
    assert list(apis_of(broker)) == sorted(apis_of(broker))


def test_a_row_may_depend_on_settings_and_feature_levels():
    rows = [
        Row(900, "Always", (0, 1), lambda: None),
        Row(901, "ByFeature", (0, 0), lambda: None, when=lambda _, features: features.get("share.version", 0) >= 1),
        Row(902, "BySetting", (0, 0), lambda: None, when=lambda settings, _: settings["delete.topic.enable"]),
    ]
    assert list(make_table(rows, {"delete.topic.enable": False}, {})) == [900]
    assert list(make_table(rows, {"delete.topic.enable": True}, {"share.version": 1})) == [900, 901, 902]
