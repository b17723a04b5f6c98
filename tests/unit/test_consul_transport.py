import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from haven.errors import Unavailable
from haven.storage import agent_order
from haven.storage.consul_transport import ConsulTransport, NoAnswer, NotSent, Refused
from support.http_stub import Got, reply, stub

TIMELY = 30.0
"""A deadline that no test means to reach."""


@pytest.fixture
async def transport_to():
    made: list[ConsulTransport] = []

    def make(*addresses: str, **settings) -> ConsulTransport:
        made.append(ConsulTransport(addresses, **settings))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def no_key(request: Got) -> bytes:
    return reply(b"", "404 Not Found", X_Consul_Index="7")


async def silence(request: Got) -> None:
    await asyncio.Event().wait()


def get(api):
    return api.kv.get("some/key")


def hangs_up_on_the_second():
    count = 0

    async def answer(request: Got) -> bytes | None:
        nonlocal count
        count += 1
        return reply(b'{"Results": []}') if count == 1 else None

    return answer


async def test_a_transaction_is_never_sent_again_when_a_kept_connection_drops(transport_to):
    async with stub(hangs_up_on_the_second()) as server:
        transport = transport_to(server.address)
        agent = transport.agents()[0]
        await transport.call(agent, lambda api: api.transact(b"[1]"), TIMELY)
        with pytest.raises(NoAnswer):
            await transport.call(agent, lambda api: api.transact(b"[2]"), TIMELY)
        assert [request.body for request in server.got] == [b"[1]", b"[2]"]


async def test_a_plain_aiohttp_session_would_send_it_again():
    async with stub(hangs_up_on_the_second()) as server, aiohttp.ClientSession() as session:
        async with session.put(server.address, data=b"[1]") as answer:
            await answer.read()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.put(server.address, data=b"[2]")
        assert [request.body for request in server.got] == [b"[1]", b"[2]", b"[2]"]


async def test_the_token_travels_in_a_header_only(transport_to, monkeypatch):
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-the-environment")
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://elsewhere:8500")
    async with stub(no_key) as server:
        transport = transport_to(server.address, token="ours")
        assert await transport.read(get, TIMELY) == ("7", None)
        assert server.got[0].headers["x-consul-token"] == "ours"
        assert server.got[0].target == "/v1/kv/some/key"


async def test_silence_ends_at_the_deadline(transport_to):
    async with stub(silence) as server:
        transport = transport_to(server.address)
        with pytest.raises(NoAnswer):
            await transport.call(transport.agents()[0], get, 0.05)
        with pytest.raises(Unavailable):
            await transport.read(get, 0.05)


async def test_a_refused_connection_is_known_as_not_sent(transport_to):
    transport = transport_to(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(NotSent):
        await transport.call(transport.agents()[0], get, TIMELY)


async def test_a_read_goes_on_to_the_next_agent_and_prefers_it_from_then_on(transport_to):
    async with stub(no_key) as server:
        transport = transport_to(f"http://127.0.0.1:{free_port()}", server.address)
        assert await transport.read(get, TIMELY) == ("7", None)
        assert transport.agents()[0].address == server.address


async def test_a_silent_agent_delays_a_read_but_does_not_fail_it(transport_to):
    async with stub(silence) as silent, stub(no_key) as server:
        transport = transport_to(silent.address, server.address)
        assert await transport.read(get, 6.0) == ("7", None)
        assert [agent.address for agent in transport.agents()] == [server.address, silent.address]


async def test_an_agent_that_was_set_back_returns_when_it_has_answered_for_a_while(
    transport_to, monkeypatch, caplog
):
    monkeypatch.setattr(agent_order, "GOOD_SECONDS", 0.0)
    monkeypatch.setattr(agent_order, "PROBE_SECONDS", 0.0)
    well = False

    async def answer(request: Got) -> bytes:
        return await no_key(request) if well else reply(b"No cluster leader", "500 Internal Server Error")

    caplog.set_level("INFO", "haven.storage")
    async with stub(answer) as own, stub(no_key) as other:
        transport = transport_to(own.address, other.address)
        async with asyncio.timeout(TIMELY):
            while len(own.got) < 4:  # failed once, and when probed
                await transport.read(get, TIMELY)
            assert transport.agents()[0].address == other.address
            well = True
            while transport.agents()[0].address != own.address:
                await transport.read(get, TIMELY)
    told = [record.message for record in caplog.records if record.name == "haven.storage"]
    assert [text.split(" address")[0] for text in told] == [
        "consul agent set back",
        "consul agent back in its place",
    ]


async def test_closing_ends_a_probe_that_is_under_way(transport_to, monkeypatch):
    monkeypatch.setattr(agent_order, "PROBE_SECONDS", 0.0)
    async with stub(silence) as silent, stub(no_key) as other:
        transport = transport_to(silent.address, other.address)
        await transport.read(get, 6.0)
        await transport.read(get, TIMELY)
        (probe,) = transport._probes
        await transport.close()
        assert probe.cancelled()


async def test_an_agent_without_a_leader_is_set_back(transport_to):
    async def no_leader(request: Got) -> bytes:
        return reply(b"No cluster leader", "500 Internal Server Error")

    async with stub(no_leader) as cut_off, stub(no_key) as server:
        transport = transport_to(cut_off.address, server.address)
        assert await transport.read(get, TIMELY) == ("7", None)
        assert transport.agents()[0].address == server.address


async def test_a_refused_request_says_nothing_against_the_agent(transport_to):
    async def conflict(request: Got) -> bytes:
        return reply(b'{"Errors": []}', "409 Conflict")

    async with stub(conflict) as server, stub(no_key) as other:
        transport = transport_to(server.address, other.address)
        with pytest.raises(Refused) as caught:
            await transport.call(transport.agents()[0], lambda api: api.transact(b"[]"), TIMELY)
        assert (caught.value.status, caught.value.body) == (409, b'{"Errors": []}')
        assert transport.agents()[0].address == server.address


@pytest.mark.parametrize(
    "strange",
    [
        reply(b"not found", "404 Not Found"),
        reply(b"", "301 Moved Permanently", Location="/elsewhere"),
        reply(b"<html>", X_Consul_Index="7"),
        reply(b'[{"Value": "AA=="}]'),
    ],
    ids=["404 without an index", "redirect", "no JSON", "no index"],
)
async def test_an_answer_that_is_not_consuls_is_no_answer_to_a_read(transport_to, strange):
    async def answer(request: Got) -> bytes:
        return strange

    async with stub(answer) as server:
        with pytest.raises(Unavailable):
            await transport_to(server.address).read(get, TIMELY)
        assert len(server.got) == 1


async def test_a_failed_read_says_what_each_agent_answered(transport_to):
    async def forbidden(request: Got) -> bytes:
        return reply(b"the key some/key is not yours", "403 Forbidden")

    async with stub(forbidden) as server:
        transport = transport_to(server.address, f"http://127.0.0.1:{free_port()}")
        with pytest.raises(Unavailable, match="answered 403; no connection") as caught:
            await transport.read(get, TIMELY)
        assert "some/key" not in str(caught.value)


async def test_a_programming_error_is_not_hidden(transport_to):
    async def wrong(api):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await transport_to("http://127.0.0.1:1").read(wrong, TIMELY)


def test_at_least_one_address_is_required():
    with pytest.raises(ValueError, match="address"):
        ConsulTransport([])


def certificate(folder) -> ssl.SSLContext:
    """Make a certificate of 127.0.0.1 that signs itself; return the server's side of TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "consul")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    unencrypted = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_tls_trusts_the_authority_it_was_given_and_no_other(transport_to, tmp_path):
    async with stub(no_key, tls=certificate(tmp_path)) as server:
        address = server.address.replace("http:", "https:")
        trusting = transport_to(address, tls=ssl.create_default_context(cafile=tmp_path / "cert.pem"))
        assert await trusting.read(get, TIMELY) == ("7", None)
        stranger = transport_to(address, tls=ssl.create_default_context())
        with pytest.raises(NotSent):
            await stranger.call(stranger.agents()[0], get, TIMELY)
        assert len(server.got) == 1
