"""The requests that Haven and OpenBao are both asked, in this order; each begins on what came before."""

from api.requests_table.gaps import GAPS
from api.requests_table.keys import KEYS
from api.requests_table.kv1 import KV1
from api.requests_table.kv2 import KV2
from api.requests_table.mounts import MOUNTS
from api.requests_table.sealing import SEALED
from api.requests_table.status import STATUS
from api.requests_table.tokens import POLICIES, TOKENS

STEPS = [*SEALED, *STATUS, *MOUNTS, *KV1, *KV2, *POLICIES, *TOKENS, *GAPS, *KEYS]
