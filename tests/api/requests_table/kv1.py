"""KV version 1, and what holds for every body and path."""

from api.requests_table.steps import delete, get, list_, patch, put
from support.comparison import Step

KV1 = [
    put("kv1 write", "one/a", {"x": 1, "y": "z", "deep": {"l": [1, None, True, 1.5]}}),
    put("kv1 write below", "one/b/c", {"x": "y"}),
    get("kv1 read", "one/a"),
    put("kv1 write with a ttl", "one/t", {"x": 1, "ttl": "5m"}),
    get("kv1 read with a ttl", "one/t"),
    put("kv1 write nothing", "one/e", {}),
    put("kv1 write no body", "one/e"),
    put("kv1 write a list", "one/e", [1]),
    put("kv1 write bad JSON", "one/e", raw=b'{"a":'),
    put(
        "kv1 write a form",
        "one/f",
        raw=b"a=1&b=2&b=3",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    get("kv1 read a form", "one/f"),
    put("kv1 write a big number", "one/n", raw=b'{"n": 12345678901234567890, "f": 1e3}'),
    get("kv1 read a big number", "one/n"),
    get("kv1 read none", "one/none"),
    get("kv1 read the root", "one/"),
    list_("kv1 list", "one"),
    list_("kv1 list with a slash", "one/"),
    get("kv1 list by GET", "one/?list=true"),
    list_("kv1 list below", "one/b"),
    list_("kv1 list none", "one/none"),
    put("kv1 write to a folder", "one/folder/", {"a": 1}),
    patch("kv1 patch", "one/a", {"x": 2}),
    delete("kv1 delete", "one/a"),
    delete("kv1 delete none", "one/none"),
    get("kv1 relative path", "one/../one/a"),
    get("kv1 odd name", "one/%20space%2Fslash"),
    Step("unknown verb", "PURGE", "one/a"),
    get("kv1 without a token", "one/a", token=""),
    get("bearer token", "one/t", token="", headers={"Authorization": "Bearer {root}"}),
]
