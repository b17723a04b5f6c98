import base64
from pathlib import Path

import pytest

from haven.barrier.seals import BadSealKey, SealConfiguration, read_static_key, unwrap, wrap
from haven.errors import DecryptionFailed

KEY = bytes(range(200, 232))


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\n",
        base64.b64encode(KEY) + b"\n",
        base64.urlsafe_b64encode(KEY).rstrip(b"="),
    ],
    ids=["raw", "hex", "upper hex", "base64", "url-safe base64"],
)
def test_reads_a_key_in_any_usual_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert read_static_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("content", [b"", KEY[:31], KEY.hex().encode()[:62], b"not a key" * 9, b"\xff" * 44])
def test_refuses_anything_else_without_showing_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(BadSealKey, match="must be 32 bytes") as caught:
        read_static_key(tmp_path / "key")
    assert not content or content.decode("latin-1") not in str(caught.value)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadSealKey, match="cannot read"):
        read_static_key(tmp_path / "none")


def test_configuration_refuses_a_short_key_and_hides_a_good_one() -> None:
    with pytest.raises(BadSealKey):
        SealConfiguration.static(KEY[:16])
    assert "key=" not in repr(SealConfiguration.static(KEY))


def test_wrapped_secret_opens_with_its_key_at_its_path_only() -> None:
    blob = wrap(KEY, "a", b"secret")
    assert unwrap(KEY, "a", blob) == b"secret"
    for key, path in ((bytes(32), "a"), (KEY, "b"), (KEY[:16], "a"), (b"", "a")):
        with pytest.raises(DecryptionFailed):
            unwrap(key, path, blob)
