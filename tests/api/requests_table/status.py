"""What an unsealed node says of itself."""

from api.requests_table.steps import get, put
from support.comparison import Step

STATUS = [
    get("seal status unsealed", "sys/seal-status", token=""),
    put("unseal unsealed", "sys/unseal", {"key": "{key3}"}, token=""),
    put("unseal reset unsealed", "sys/unseal", {"reset": True}, token=""),
    get("health active", "sys/health", token=""),
    get("health with a code", "sys/health?activecode=204", token=""),
    get("health with a bad code", "sys/health?activecode=x", token=""),
    get("health standbyok", "sys/health?standbyok=true&haunhealhty=299", token=""),
    get("health standbyok bad", "sys/health?standbyok=x", token=""),
    Step("health by HEAD", "HEAD", "sys/health", token=""),
    put("health by POST", "sys/health", {}, token=""),
    get("leader", "sys/leader", token=""),
    get("ha status", "sys/ha-status"),
    get("ha status without a token", "sys/ha-status", token=""),
    get("key status", "sys/key-status"),
    put("key status by POST", "sys/key-status", {}),
    put("rotate", "sys/rotate"),
    get("key status rotated", "sys/key-status"),
    put("rotate keyring", "sys/rotate/keyring"),
    get("rotate config", "sys/rotate/config"),
    put("rotate config set", "sys/rotate/config", {"interval": "1000h", "enabled": True}),
    put("rotate config too often", "sys/rotate/config", {"interval": "1h"}),
    get("rotate config changed", "sys/rotate/config"),
    put("step down alone", "sys/step-down"),
    put("seal without a token", "sys/seal", token=""),
    put("step down without a token", "sys/step-down", token=""),
    Step("seal by GET", "GET", "sys/seal"),
]
