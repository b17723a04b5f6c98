"""HAProxy's configuration: valid on the versions at hand, and does what it is for before nodes that obey."""

import http.client
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stack.checkout import ROOT, has_docker, run
from stack.proxied_nodes import Proxy, wait_until

needs_docker = pytest.mark.skipif(not has_docker(), reason="no Docker daemon to run HAProxy's image in")
LIMIT = 32 * 1024 * 1024


@pytest.fixture(scope="module")
def started(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("haproxy"))
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(started: Proxy) -> Proxy:
    for node in started.nodes:
        node.how = "answer"
        node.go_on.clear()
        node.seen.clear()
    started.settle(200, 429, 429)
    return started


@needs_docker
def test_it_is_valid_in_the_image(image: str) -> None:
    checked = run("docker", "run", "--rm", image, "haproxy", "-c", "-V", "-f", "/etc/haproxy/haproxy.cfg")
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in (checked.stdout + checked.stderr).lower()


def test_it_is_valid_for_this_machines_haproxy() -> None:
    if not shutil.which("haproxy"):
        pytest.skip("no haproxy on this machine")
    checked = run("haproxy", "-c", "-f", "haproxy/haproxy.cfg")
    assert checked.returncode == 0, checked.stderr


def test_no_path_is_logged() -> None:
    text = (ROOT / "haproxy" / "haproxy.cfg").read_text()
    formats = re.findall(r"log-format (.*)", text)
    assert len(formats) == 1
    assert not re.search(r"%\{?[+QX,]*\}?(HP|HU|HQ|HPO|r)\b|capture|httplog", formats[0])
    assert "option httplog" not in text


@needs_docker
@pytest.mark.parametrize("method", ["GET", "LIST", "PUT", "DELETE"])
def test_a_request_goes_to_the_active_node(proxy: Proxy, method: str) -> None:
    assert [proxy.ask(method)[1]["node"] for _ in range(6)] == ["haven-1"] * 6


@needs_docker
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_it_follows_the_active_node(proxy: Proxy, method: str) -> None:
    proxy.settle(429, 429, 200)
    assert proxy.ask(method)[1]["node"] == "haven-3"


@needs_docker
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_while_none_is_active_a_standby_takes_the_request(proxy: Proxy, method: str) -> None:
    proxy.settle(503, 429, 429)
    assert proxy.ask(method)[1]["node"] in {"haven-2", "haven-3"}


@needs_docker
@pytest.mark.parametrize("how", ["close", "refuse", "hang"])
@pytest.mark.parametrize("method", ["GET", "LIST"])
def test_a_read_goes_on_to_another_node(proxy: Proxy, method: str, how: str) -> None:
    proxy.nodes[0].how = how
    status, answer, _ = proxy.ask(method)
    assert status == 200
    assert answer["node"] != "haven-1"
    assert len(proxy.nodes[0].seen) == 1


@needs_docker
@pytest.mark.parametrize(("method", "query"), [("LIST", ""), ("GET", "?list=true")])
def test_a_list_may_take_longer_than_a_read(proxy: Proxy, method: str, query: str) -> None:
    slow = proxy.nodes[0]
    slow.how = "late"
    with ThreadPoolExecutor(max_workers=1) as pool:
        listed = pool.submit(proxy.ask, method, query=query)
        wait_until(lambda: len(slow.seen) == 1, "the list is at the slow node")
        assert proxy.ask("GET")[1]["node"] != "haven-1", "the read has gone on to another node"
        slow.go_on.set()
        assert listed.result()[1]["node"] == "haven-1"


@needs_docker
@pytest.mark.parametrize("size", [0, 8, 20_000])
def test_a_write_that_was_surely_not_executed_goes_on_to_another_node(proxy: Proxy, size: int) -> None:
    proxy.nodes[0].how = "refuse"
    status, answer, _ = proxy.ask("PUT", "x" * size)
    assert status == 200
    assert answer["node"] != "haven-1"
    assert [body for node in proxy.nodes for _, body, _ in node.seen] == ["x" * size] * 2


@needs_docker
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_a_write_that_may_have_been_executed_is_never_repeated(proxy: Proxy, method: str) -> None:
    proxy.nodes[0].how = "close"
    status, answer, _ = proxy.ask(method, "the body")
    assert status == 502
    assert "unknown" in answer["errors"][0]
    assert proxy.requests() == 1


@needs_docker
def test_a_repeated_request_keeps_its_id_and_one_from_outside_is_dropped(proxy: Proxy) -> None:
    proxy.nodes[0].how = "refuse"
    proxy.ask("PUT", "x", X_Request_Id="forged")
    ids = [headers["x-request-id"] for node in proxy.nodes for _, _, headers in node.seen]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert re.fullmatch(r"[0-9a-f-]{36}", ids[0])


@needs_docker
def test_a_clients_claims_about_its_address_are_dropped(proxy: Proxy) -> None:
    proxy.ask("GET", X_Forwarded_For="203.0.113.9", Forwarded="for=203.0.113.9", X_Forwarded_Host="evil")
    headers = proxy.nodes[0].seen[0][2]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "forwarded" not in headers
    assert "x-forwarded-host" not in headers


@needs_docker
def test_when_all_are_sealed_the_first_node_answers_for_itself(proxy: Proxy) -> None:
    proxy.settle(503, 503, 501)
    proxy.nodes[0].how = "refuse"
    status, answer, _ = proxy.ask("PUT")
    assert (status, answer) == (503, {"node": "haven-1"})
    assert proxy.requests() == 1


@needs_docker
def test_a_write_finds_the_first_unsealed_node_before_its_own_backend_does(image: str, tmp_path) -> None:
    proxy = Proxy(tmp_path, writes_stay_down=True)
    try:
        proxy.settle(503, 503, 503)
        proxy.nodes[0].how = "refuse"
        proxy.settle(503, 200, 503, backends=["reads"])
        assert proxy.view("writes") == [0, 0, 0]
        status, answer, _ = proxy.ask("PUT", "the body")
        assert (status, answer) == (200, {"node": "haven-2"})
        proxy.nodes[1].how = "close"
        assert proxy.ask("PUT")[0] == 502
        assert proxy.requests() == 2
    finally:
        proxy.close()


@needs_docker
def test_a_body_above_the_limit_is_refused_before_it_is_read(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    connection.putrequest("PUT", "/v1/secret/data/x")
    connection.putheader("Content-Length", str(LIMIT + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert response.read() == b'{"errors":["request body too large"]}'
    connection.close()
    assert proxy.requests() == 0


@needs_docker
def test_with_no_node_at_all_it_says_so(image: str, tmp_path) -> None:
    proxy = Proxy(tmp_path)
    try:
        proxy.settle(200, 429, 429)
        for node in proxy.nodes:
            node.stop()
        status, answer, headers = proxy.ask("GET")
        assert (status, answer) == (503, {"errors": ["no Haven node is available"]})
        assert headers["Retry-After"] == "1"
    finally:
        proxy.close()
