"""Where Haven answers otherwise than OpenBao 2.7, on purpose. One that no longer occurs fails the test.

Haven follows Vault 1.14 where the two differ: its clients are Vault's.
"""

from support.comparison import Known

_ENVELOPE = "body/auth|body/data|body/lease_*|body/renewable|body/request_id|body/warnings|body/wrap_info"

_PRODUCT = (
    Known("another product", "*/version|*/running_plugin_version|body/cluster_name|*/nodes/0/hostname"),
    Known("other addresses", "*/nodes/0/api_address|*/nodes/0/cluster_address"),
    Known("another storage", "body/storage_type"),
    Known("keys are random", "body/keys/*|body/keys_base64/*", "init|rekey *"),
    Known("one-time passwords are random", "body/otp|body/encoded*", "generate root *"),
    Known("every encryption is counted, and not the same ones are made", "*/encryptions"),
    Known(
        "a second may have passed on one of the two",
        "body/data/ttl|body/auth/lease_duration",
        "lookup*|limited *|renew*",
        always=False,
    ),
    Known("a new cluster has KV version 2 at secret/", "*/secret/"),
)

_VAULT = (
    Known("Vault's field in place of OpenBao's", "body/build_date|body/commit_date"),
    Known("Vault's field, which Vault's clients read", "body/performance_standby*"),
    Known(
        "Vault sends these always, OpenBao only where they say something",
        "body/active_time|body/is_self|body/leader_*",
        "leader*",
    ),
    Known("root tokens are Vault's 28 characters, not 26", "body/otp_length", "generate root *"),
    Known(
        "OpenBao's paths with tokens answer like Vault's without",
        "body/data/*",
        "generate root token *|rotate root *",
    ),
    Known("Vault's status for what nobody may mount", "status", "enable *|auth enable token"),
    Known("Vault's null", "*/options", "mounts|one mount*|ui mounts*"),
    Known("Vault's words: OpenBao prints times shorter", "body/warnings/0", "create max|create long"),
    Known("Vault's words", "body/errors/0", "generate root bad otp|generate root start again|rekey bad"),
    Known("the CLI's name", "body/warnings/0", "kv2 without data|kv2 write without data"),
    Known("OpenBao's additions to KV version 2", "body/data/*metadata_*", "kv2 metadata*|kv2 config*"),
    Known(
        "OpenBao's additions to policies",
        "*/allow_*|*/cas_required|*/modified",
        "policy read*",
    ),
)

_SMALLER = (
    Known("not built", "*", "gap *"),
    Known("every token's hash is the strong one", "body/warnings", "create id"),
    Known("no identity engine", "*/identity/"),
    Known("every engine is supported: none is on its way out", "*/deprecation_status"),
    Known(
        "no headers are passed to engines", "*/passthrough_request_headers", "mounts|tune read sys|ui mounts"
    ),
    Known("no batch tokens", f"status|body/errors|{_ENVELOPE}", "create batch"),
)

_STRICTER = (
    Known("an empty answer has no type", "header content-type"),
    Known("step-down needs sudo where there is nothing to step down from, too", "status|body", "*step down*"),
    Known("null is no secret", f"status|body/errors|{_ENVELOPE}", "kv2 write null data"),
    Known("a consequence of null being none", "body/data/keys", "kv2 list|kv2 list by GET"),
    Known("a repeated form field is a list", "body/data/b", "kv1 read a form"),
    Known("the client's mistake, not the server's", "status", "capabilities no token|rekey bad"),
    Known(
        "a spent token shows no uses, not the mark for being spent", "body/data/num_uses", "limited second"
    ),
    Known("a 404 has a body", "body", "kv2 patch none|kv2 metadata patch none"),
)

_WORDS = (
    Known("our words", "body/errors/0", "capabilities no token|renew root"),
    Known(
        "our words for a body that cannot be read",
        "body/errors/0",
        "unseal with bad JSON|unseal with a number|kv1 write a list|kv1 write bad JSON",
    ),
    Known(
        "our words for a field that cannot be read",
        "body/errors/0",
        "enable bad time|kv2 write data a *|kv2 read bad version|kv2 metadata custom list|kv2 metadata bad *|"
        "kv2 config bad|create bad *|create negative ttl",
    ),
    Known("our words for a policy that cannot be read", "body/errors/0", "policy bad*"),
    Known("no cipher's name in an error", "body/errors/0", "unseal a wrong share"),
    Known("the move is done when the answer comes, not queued", "body/warnings/0", "remount"),
)

KNOWN = (*_PRODUCT, *_VAULT, *_SMALLER, *_STRICTER, *_WORDS)
