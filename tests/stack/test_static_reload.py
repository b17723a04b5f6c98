"""HAProxy's reload and its orderly end: no request is lost, and a new worker knows the nodes."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stack.checkout import has_docker
from stack.proxied_nodes import HANGS, SECONDS, Proxy, wait_until

pytestmark = pytest.mark.skipif(not has_docker(), reason="no Docker daemon to run HAProxy's image in")
TOO_LARGE = {"Content-Length": str(64 * 1024 * 1024)}


@pytest.fixture
def proxy(image: str, tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path)
    try:
        proxy.settle(429, 200, 429)
        yield proxy
    finally:
        proxy.close()


class Client:
    """A client with one kept connection."""

    def __init__(self, proxy: Proxy) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=SECONDS)

    def ask(self, method: str = "PUT") -> http.client.HTTPResponse:
        self._connection.request(method, "/v1/secret/data/x", "x" if method == "PUT" else None)
        response = self._connection.getresponse()
        response.read()
        return response

    def ask_until(self, end: threading.Event, answers: Counter[int]) -> None:
        while not end.wait(0.005):
            for method in ("GET", "PUT"):
                answers[self.ask(method).status] += 1


def test_a_reload_loses_no_request(proxy: Proxy) -> None:
    end, answers = threading.Event(), Counter[int]()
    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(Client(proxy).ask_until, end, answers) for _ in range(4)]
        try:
            for _ in range(5):
                before = answers.total()
                assert proxy.reload().returncode == 0
                wait_until(lambda since=before: answers.total() > since + 50, "clients go on")  # type: ignore[misc]
        finally:
            end.set()
        for client in clients:
            client.result()
    assert set(answers) == {200}


def test_a_kept_connection_is_not_closed_before_its_last_answer(proxy: Proxy) -> None:
    client = Client(proxy)
    assert client.ask().getheader("Connection") is None
    assert proxy.reload().returncode == 0
    last = client.ask()
    assert (last.status, last.getheader("Connection")) == (200, "close")


def test_a_new_worker_knows_that_a_node_hangs(proxy: Proxy) -> None:
    proxy.nodes[0].how = "hang"
    proxy.settle(HANGS, 200, 429)
    assert proxy.reload().returncode == 0
    assert {proxy.ask("PUT")[1]["node"] for _ in range(5)} == {"haven-2"}
    assert proxy.nodes[0].seen == []


def test_a_reload_takes_a_changed_file_and_refuses_a_wrong_one(proxy: Proxy) -> None:
    text = "request body too large"
    refused = proxy.reload(("mode http", "mode nothing"))
    assert refused.returncode != 0
    assert "nothing" in refused.stderr
    assert proxy.ask("PUT", **TOO_LARGE)[1] == {"errors": [text]}
    assert proxy.reload((text, "too much")).returncode == 0
    assert proxy.ask("PUT", **TOO_LARGE)[1] == {"errors": ["too much"]}


def test_after_a_reload_that_failed_the_next_one_works(proxy: Proxy) -> None:
    taken = f"bind 127.0.0.1:{proxy.nodes[0].port}"
    refused = proxy.reload((f"bind 127.0.0.1:{proxy.port}", taken))
    assert refused.returncode != 0
    assert proxy.ask("PUT")[0] == 200
    assert proxy.reload().returncode == 0
    assert proxy.ask("PUT")[0] == 200


def test_it_stops_when_the_last_request_has_its_answer(proxy: Proxy) -> None:
    assert proxy.reload().returncode == 0  # answered, the master hears signals; as it starts, it may miss one
    proxy.nodes[1].how = "late"
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(Client(proxy).ask)
        wait_until(lambda: len(proxy.nodes[1].seen) == 1, "the request is at its node")
        stopping = proxy.stop()
        wait_until(lambda: "stopped" in proxy.log(), "HAProxy has begun to stop")
        proxy.nodes[1].go_on.set()
        assert answer.result().status == 200
    assert stopping.wait(SECONDS) == 0
    assert proxy.exit_code() == 0
