"""What gunicorn does stock and a node must not do (reference: findings A to K), in real processes."""

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_process import PATIENCE, NodeProcess, eventually

LARGE = 600_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("node"), TINY_HEADER_SECONDS="1") as running:
        yield running.ready()


def test_large_bodies_on_a_kept_connection_arrive_whole(node: NodeProcess) -> None:
    connection = node.connect()
    for _ in range(20):
        connection.request("PUT", "/tiny", b"x" * LARGE)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b'{"length": %d}' % LARGE)
    connection.close()


def test_list_is_a_method(node: NodeProcess) -> None:
    assert node.ask("LIST", "/tiny") == (200, {"keys": ["a"]})


def test_headers_that_do_not_end_are_cut_off(node: NodeProcess) -> None:
    with node.socket() as silent, node.socket() as slow:
        slow.sendall(b"GET /tiny HTTP/1.1\r\nHo")
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""


def test_a_second_request_that_does_not_end_is_cut_off(node: NodeProcess) -> None:
    with node.socket() as sock:
        sock.sendall(b"LIST /tiny HTTP/1.1\r\nHost: h\r\n\r\n")
        response = http.client.HTTPResponse(sock)
        response.begin()
        response.read()
        sock.sendall(b"GET /tiny HTTP/1.1\r\nHo")
        assert sock.recv(1) == b""


def test_the_kernel_queues_more_connections_than_asyncio_asks_for(node: NodeProcess) -> None:
    worker = node.worker()
    os.kill(worker, signal.SIGSTOP)
    waiting = []
    try:
        for _ in range(250):
            waiting.append(socket.create_connection(("127.0.0.1", node.port), timeout=10))
    finally:
        os.kill(worker, signal.SIGCONT)
        for sock in waiting:
            sock.close()
    assert len(waiting) == 250


def test_memory_is_kept_from_core_dumps_and_threads_from_the_loop(node: NodeProcess) -> None:
    _, told = node.ask("GET", "/hardening")
    assert told["dumpable"] == 0
    assert told["core"] == [0, 0]
    assert told["interval"] == pytest.approx(0.0005)
    assert "memory locked" in node.log or "memory not locked" in node.log


def test_signals_for_a_second_worker_are_ignored(node: NodeProcess) -> None:
    worker = node.worker()
    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR2):
        os.kill(node.process.pid, number)
    eventually(lambda: node.log.count("signal ignored") == 3, "the signals are ignored")
    assert node.worker() == worker


def test_a_write_goes_on_when_its_client_is_gone(node: NodeProcess) -> None:
    with node.socket() as sock:
        sock.sendall(b"PUT /tiny?do=keep HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        eventually(lambda: "keeping" in node.diary, "the handler runs")
    eventually(lambda: "kept" in node.diary, "the handler ends")


def test_one_connection_too_many_gets_503(tmp_path: Path) -> None:
    with NodeProcess(tmp_path, TINY_CHANGES='{"worker_connections": 2}') as node:
        node.ready()
        first, second = node.connect(), node.connect()
        for connection in (first, second):
            connection.request("GET", "/tiny")
            connection.getresponse().read()
        assert node.ask("GET", "/tiny") == (503, {"errors": ["too many connections"]})
        first.close()
        eventually(lambda: node.ask("GET", "/tiny")[0] == 200, "a place is free again")
        second.close()


def test_a_start_up_that_fails_ends_the_process(tmp_path: Path) -> None:
    with NodeProcess(tmp_path, TINY_FAIL="1") as node:
        assert node.ended() == 3
        assert "application failed to start reason=" in node.log
        assert "start-up fails" in node.log


class Stream:
    """A client that asks again and again, on one connection until it is told to close it."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.failures: list[str] = []
        self.closes = 0
        self.answers = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = self.node.connect()
        while not self._stop.is_set():
            try:
                connection.request("LIST", "/tiny")
                response = connection.getresponse()
                response.read()
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            self.answers += 1
            if response.will_close:
                self.closes += 1
                if self.closes > 5:
                    return
            self._stop.wait(0.005)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_node_hands_over_then_leaves_without_dropping_a_request(number: int, tmp_path: Path) -> None:
    with NodeProcess(tmp_path) as node:
        node.ready()
        idle = node.connect()
        idle.request("GET", "/tiny")
        idle.getresponse().read()
        long = node.connect()
        long.request("GET", "/tiny?do=sleep&seconds=3")
        stream = Stream(node)
        eventually(lambda: stream.answers > 3, "requests are answered")
        os.kill(node.process.pid, number)
        assert long.getresponse().status == 200
        stream.stop()
        assert node.ended() == 0
        assert stream.failures == []
        assert stream.closes > 0
        assert node.diary[-3:] == ["handing over", "handed over", "shutdown"]
        assert "connections cut off" not in node.log


def test_a_failing_task_ends_the_node_after_a_hand_over(tmp_path: Path) -> None:
    with NodeProcess(tmp_path) as node:
        node.ready()
        node.ask("GET", "/tiny?do=fail")
        assert node.ended() == 1
        assert node.diary == ["handing over", "handed over", "shutdown"]
        assert "process ends reason=test" in node.log


def test_the_arbiter_ends_with_its_worker(tmp_path: Path) -> None:
    with NodeProcess(tmp_path) as node:
        node.ready()
        os.kill(node.worker(), signal.SIGKILL)
        assert node.ended() == 1


def switches(process: int) -> int:
    """Return how often a process has gone to sleep by itself."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary"))


def test_a_node_that_was_suspended_as_a_whole_goes_on(tmp_path: Path) -> None:
    """A restarted one would be sealed, where people hold the key."""
    with NodeProcess(tmp_path, TINY_CHANGES='{"timeout": 4}') as node:
        node.ready()
        arbiter, worker = node.process.pid, node.worker()
        for process in (arbiter, worker):
            os.kill(process, signal.SIGSTOP)
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() > stopped + 6, "the suspension is longer than the timeout")
        before = switches(arbiter)
        os.kill(arbiter, signal.SIGCONT)
        eventually(lambda: switches(arbiter) > before, "the arbiter has looked at its worker")
        os.kill(worker, signal.SIGCONT)
        assert node.worker() == worker


def test_a_blocked_loop_is_killed(tmp_path: Path) -> None:
    with NodeProcess(tmp_path, TINY_CHANGES='{"timeout": 2}') as node:
        node.ready()
        with node.socket() as sock:
            sock.sendall(b"GET /tiny?do=block HTTP/1.1\r\nHost: h\r\n\r\n")
            assert node.ended() == 1
