"""What OpenBao has and Haven has not: told with a clear refusal, never with a wrong answer."""

from api.requests_table.steps import get, list_, put
from support.comparison import Step

_WRAP = {"X-Vault-Wrap-TTL": "60"}

GAPS = [
    get("gap wrapped answer", "one/t", headers=_WRAP),
    put("gap wrap", "sys/wrapping/wrap", {"a": 1}),
    put("gap unwrap", "sys/wrapping/unwrap", {"token": "x"}),
    get("gap namespace", "one/t", headers={"X-Vault-Namespace": "other"}),
    Step("gap help", "HELP", "sys/mounts"),
    Step("gap options", "OPTIONS", "one/t"),
    Step("gap scan", "SCAN", "one/"),
    list_("gap leases", "sys/leases/lookup/"),
    put("gap lease", "sys/leases/lookup", {"lease_id": "x"}),
    put("gap tidy tokens", "auth/token/tidy"),
    put("gap token role", "auth/token/roles/r", {"allowed_policies": "p"}),
    get("gap audit", "sys/audit"),
    put("gap random", "sys/tools/random/8"),
    put("gap hash", "sys/tools/hash", {"input": "aGk="}),
    get("gap plugins", "sys/plugins/catalog"),
    get("gap resultant ACL", "sys/internal/ui/resultant-acl"),
    get("gap OpenAPI", "sys/internal/specs/openapi"),
    get("gap host", "sys/host-info"),
    get("gap CORS", "sys/config/cors"),
    get("gap quotas", "sys/quotas/config"),
    put("gap userpass", "sys/auth/up", {"type": "userpass"}),
    put("gap approle", "sys/auth/ar", {"type": "approle"}),
    put("gap transit", "sys/mounts/tr", {"type": "transit"}),
]
