"""Delegation tokens through dispatch, the login with one, and their removal."""

from __future__ import annotations

import base64

import pytest
import trio.testing
from peer import Peer

from kwire.broker.endpoint import Endpoint
from kwire.errors import Code
from kwire.security.operations import Operation, ResourceType
from kwire.security.principal import Principal
from kwire.security.sasl.scram_client import ScramClient
from kwire.wire import messages as m

DAY_MS = 86_400_000
SASL = Endpoint("SASL_PLAINTEXT", "SASL_PLAINTEXT", "localhost", 9092)
BOB = m.DescribeDelegationTokenRequest.DescribeDelegationTokenOwner(principal_type="User", principal_name="bob")


@pytest.fixture
def settings():
    return {"delegation.token.secret.key": "s3cret-key", "delegation.token.expiry.check.interval.ms": "60000"}


class Asker:
    """A client that has logged in."""

    def __init__(self, broker, name, *, endpoint=SASL, by_token=False):
        self.peer = Peer(broker)
        self.peer.client = self.peer.client._replace(
            endpoint=endpoint, principal=Principal("User", name), authenticated_by_token=by_token
        )

    async def create(self, version=3, *, owner=None, renewers=(), life_ms=-1):
        request = m.CreateDelegationTokenRequest(
            renewers=[
                m.CreateDelegationTokenRequest.CreatableRenewers(principal_type=kind, principal_name=name)
                for kind, name in renewers
            ],
            max_lifetime_ms=life_ms,
        )
        if owner is not None:
            request.owner_principal_type, request.owner_principal_name = "User", owner
        return await self.peer.call(version, request)

    async def renew(self, hmac, period_ms=-1, version=2):
        return await self.peer.call(version, m.RenewDelegationTokenRequest(hmac=hmac, renew_period_ms=period_ms))

    async def expire(self, hmac, period_ms=-1, version=2):
        return await self.peer.call(version, m.ExpireDelegationTokenRequest(hmac=hmac, expiry_time_period_ms=period_ms))

    async def describe(self, owners=None, version=3):
        return await self.peer.call(version, m.DescribeDelegationTokenRequest(owners=owners))


@pytest.fixture
def alice(broker):
    return Asker(broker, "alice")


@pytest.fixture
def bob(broker):
    return Asker(broker, "bob")


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_token_is_created_for_its_requester(broker, alice, version):
    token = await alice.create(version)

    assert (token.error_code, token.principal_type, token.principal_name) == (0, "User", "alice")
    assert token.token_requester_principal_name == ("alice" if version == 3 else "")
    assert abs(token.issue_timestamp_ms - broker.clock.now_ms()) < 60_000
    assert token.expiry_timestamp_ms == token.issue_timestamp_ms + DAY_MS
    assert token.max_timestamp_ms == token.issue_timestamp_ms + 7 * DAY_MS
    assert (len(token.token_id), len(token.hmac)) == (22, 64)
    record = broker.image.tokens[token.token_id]
    assert (record.owner, record.requester, record.renewers) == ("User:alice", "User:alice", [])


async def test_a_short_life_bounds_the_expiry(alice):
    token = await alice.create(life_ms=1000)
    assert token.expiry_timestamp_ms == token.max_timestamp_ms == token.issue_timestamp_ms + 1000


async def test_a_token_for_another_owner(broker, alice):
    class Denying:
        def allows(self, principal, host, operation, kind, name):
            assert (operation, kind, name) == (Operation.CREATE_TOKENS, ResourceType.USER, "User:bob")
            return False

    token = await alice.create(owner="bob")
    assert (token.principal_name, token.token_requester_principal_name) == ("bob", "alice")
    broker.authorizer = Denying()
    assert not (await alice.create(owner="alice")).error_code
    refused = await alice.create(owner="bob")
    assert (refused.error_code, refused.issue_timestamp_ms) == (Code.DELEGATION_TOKEN_AUTHORIZATION_FAILED, -1)


async def test_renewers_must_be_users(alice):
    refused = await alice.create(renewers=[("Group", "g")])
    assert (refused.error_code, refused.max_timestamp_ms) == (Code.INVALID_PRINCIPAL_TYPE, -1)


@pytest.mark.parametrize("how", [{"by_token": True}, {"endpoint": Peer.endpoint}])
async def test_clients_without_a_login_or_with_a_token_are_refused(broker, how):
    client = Asker(broker, "alice", **how)
    answers = [await client.create(), await client.renew(b"x"), await client.expire(b"x"), await client.describe()]
    assert {answer.error_code for answer in answers} == {Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED}
    assert {answer.expiry_timestamp_ms for answer in answers[:3]} == {-1}


async def test_without_a_secret_key_there_are_no_tokens(start_broker):
    async with start_broker(**{"delegation.token.secret.key": ""}) as broker:
        client = Asker(broker, "alice")
        answers = [await client.create(), await client.renew(b"x"), await client.expire(b"x"), await client.describe()]
    assert {answer.error_code for answer in answers} == {Code.DELEGATION_TOKEN_AUTH_DISABLED}
    assert {answer.expiry_timestamp_ms for answer in answers[:3]} == {0}


async def test_an_old_metadata_version_has_no_tokens(broker, alice):
    broker.image._features["metadata.version"] = 12
    assert (await alice.create()).error_code == Code.UNSUPPORTED_VERSION


@pytest.mark.parametrize(("period_ms", "days"), [(-1, 1), (0, 1), (2**62, 1), (DAY_MS // 2, 0.5)])
async def test_owner_and_renewer_renew_a_token(broker, alice, bob, period_ms, days):
    token = await alice.create(renewers=[("User", "bob")])
    broker.clock.advance(DAY_MS / 4)
    for client in (alice, bob):
        renewed = await client.renew(token.hmac, period_ms)
        assert not renewed.error_code
        assert abs(renewed.expiry_timestamp_ms - (broker.clock.now_ms() + days * DAY_MS)) < 60_000
    assert broker.image.tokens[token.token_id].expiration_timestamp == renewed.expiry_timestamp_ms


async def test_a_token_is_not_renewed_past_its_end(broker, alice):
    token = await alice.create()
    for _ in range(6):
        broker.clock.advance(DAY_MS - 60_000)
        last = await alice.renew(token.hmac)
    broker.clock.advance(DAY_MS - 60_000)
    last = await alice.renew(token.hmac)
    assert last.expiry_timestamp_ms == token.max_timestamp_ms


async def test_refusals_of_renewals_in_their_order(start_broker):
    async with start_broker(**{"delegation.token.expiry.check.interval.ms": "9000000000"}) as broker:
        alice, bob = Asker(broker, "alice"), Asker(broker, "bob")
        token = await alice.create(owner="carol")
        assert (await alice.renew(b"nothing")).error_code == Code.DELEGATION_TOKEN_NOT_FOUND
        assert (await alice.renew(token.hmac)).error_code == Code.DELEGATION_TOKEN_OWNER_MISMATCH  # its requester
        assert (await bob.expire(token.hmac)).error_code == Code.DELEGATION_TOKEN_OWNER_MISMATCH
        broker.clock.advance(DAY_MS + 1000)
        assert (await bob.renew(token.hmac)).error_code == Code.DELEGATION_TOKEN_EXPIRED
        assert (await bob.expire(token.hmac, 5)).error_code == Code.DELEGATION_TOKEN_OWNER_MISMATCH
        carol = Asker(broker, "carol")
        assert (await carol.expire(token.hmac, 5)).error_code == Code.DELEGATION_TOKEN_EXPIRED
        assert not (await carol.expire(token.hmac, -1)).error_code
        assert not broker.image.tokens


async def test_an_expiry_is_set_or_takes_effect_at_once(broker, alice):
    token = await alice.create()
    later = await alice.expire(token.hmac, 5000)
    assert abs(later.expiry_timestamp_ms - broker.clock.now_ms() - 5000) < 5000
    now = await alice.expire(token.hmac)
    assert abs(now.expiry_timestamp_ms - broker.clock.now_ms()) < 5000
    assert (await alice.expire(token.hmac)).error_code == Code.DELEGATION_TOKEN_NOT_FOUND


async def test_which_tokens_a_client_sees(broker, alice, bob):
    class Deciding:
        def __init__(self):
            self.asked = set()
            self.allowed = set()

        def allows(self, principal, host, operation, kind, name):
            self.asked.add((operation, kind, name))
            return (operation, kind, name) in self.allowed

    own = await alice.create()
    shared = await alice.create(renewers=[("User", "bob")])
    for_bob = await alice.create(owner="bob")
    hidden = await Asker(broker, "carol").create()
    authorizer = broker.authorizer = Deciding()

    async def ids(client, owners=None):
        answer = await client.describe(owners)
        assert not answer.error_code
        return {one.token_id for one in answer.tokens}

    assert await ids(alice) == {own.token_id, shared.token_id, for_bob.token_id}
    assert await ids(bob) == {shared.token_id, for_bob.token_id}
    assert await ids(alice, [BOB]) == {shared.token_id, for_bob.token_id}
    assert await ids(alice, []) == set()
    assert (Operation.DESCRIBE, ResourceType.DELEGATION_TOKEN, hidden.token_id) in authorizer.asked
    for allowed in (
        (Operation.DESCRIBE, ResourceType.DELEGATION_TOKEN, hidden.token_id),
        (Operation.DESCRIBE_TOKENS, ResourceType.USER, "User:carol"),
    ):
        authorizer.allowed = {allowed}
        assert hidden.token_id in await ids(bob)


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_description_has_all_of_a_token(alice, version):
    token = await alice.create(owner="bob", renewers=[("User", "carol")])
    (one,) = (await alice.describe(version=version)).tokens
    assert (one.principal_name, one.token_id, one.hmac) == ("bob", token.token_id, token.hmac)
    assert one.token_requester_principal_name == ("alice" if version == 3 else "")
    assert [each.principal_name for each in one.renewers] == ["carol"]
    assert (one.issue_timestamp, one.max_timestamp) == (token.issue_timestamp_ms, token.max_timestamp_ms)


async def test_expired_tokens_are_removed_by_the_brokers_clock(broker, alice, autojump_clock):
    await alice.create()
    broker.clock.advance(DAY_MS - 120_000)
    await trio.testing.wait_all_tasks_blocked()
    assert broker.image.tokens
    broker.clock.advance(240_000)
    await trio.sleep(120)
    assert not broker.image.tokens


async def test_tokens_survive_a_restart(start_broker):
    async with start_broker() as broker:
        token = await Asker(broker, "alice").create()
    async with start_broker() as broker:
        (one,) = (await Asker(broker, "alice").describe()).tokens
        assert one.hmac == token.hmac


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_token_logs_in_as_its_owner(start_broker, mechanism):
    from kwire.metadata.settings.sasl import settings_for_users

    listener = {
        "listeners": "SASL_PLAINTEXT://localhost:9092",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        **settings_for_users(["SASL_PLAINTEXT"], {"alice": "x"}),
    }
    async with start_broker(**listener) as broker:
        token = await Asker(broker, "alice").create()
        password = base64.b64encode(token.hmac).decode()
        for secret, works in ((password, True), ("wrong", False)):
            exchange = broker.authentication.mechanisms("SASL_PLAINTEXT").begin(mechanism)
            client = ScramClient(mechanism, token.token_id, secret, "nonce", token=True)
            final = client.final(exchange.evaluate(client.first()))
            if works:
                client.check(exchange.evaluate(final))
                assert exchange.identity.principal == Principal("User", "alice")
                assert exchange.identity.by_token
                assert exchange.identity.expires_at_ms == token.expiry_timestamp_ms
            else:
                with pytest.raises(Exception, match="wrong password"):
                    exchange.evaluate(final)
