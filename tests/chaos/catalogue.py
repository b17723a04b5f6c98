"""All faults by name."""

from chaos.consul_faults import CONSUL_FAULTS
from chaos.faults import Fault
from chaos.network_faults import NETWORK_FAULTS
from chaos.node_faults import NODE_FAULTS
from chaos.other_faults import OTHER_FAULTS
from chaos.pairs import PAIRED_FAULTS

CATALOGUE: dict[str, Fault] = {
    fault.name: fault
    for fault in (*NODE_FAULTS, *NETWORK_FAULTS, *CONSUL_FAULTS, *OTHER_FAULTS, *PAIRED_FAULTS)
}
QUICK = [name for name, fault in CATALOGUE.items() if fault.quick]
