from collections.abc import Iterator

import pytest

from support.consul_servers import ConsulServers


@pytest.fixture(scope="session")
def consul_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServers]:
    """Three real Consul servers for the whole run."""
    servers = ConsulServers(tmp_path_factory.mktemp("consul"))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def consul(consul_session: ConsulServers) -> ConsulServers:
    """The three servers, all well: what an earlier test broke is started again."""
    for server in consul_session.servers:
        if server.running:
            consul_session.resume(server)
    consul_session.start()
    return consul_session
