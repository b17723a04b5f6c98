import pytest

from haven.barrier import aead, paths
from haven.barrier.keyring import Keyring, RotationConfig, UnknownTerm, new_key
from haven.errors import DecryptionFailed

NOW = 1_700_000_000.25


def test_old_terms_still_decrypt_and_the_newest_encrypts() -> None:
    first = Keyring.fresh(NOW)
    second = first.rotated(NOW + 1)
    old, new = first.encrypt("a", b"1"), second.encrypt("a", b"2")
    assert (aead.term_of(old), aead.term_of(new)) == (1, 2)
    assert (second.decrypt("a", old), second.decrypt("a", new)) == (b"1", b"2")
    with pytest.raises(UnknownTerm):
        first.decrypt("a", new)


def test_stored_keyring_comes_back_whole() -> None:
    keyring = Keyring.fresh(NOW).rotated(NOW + 1).with_rotation(RotationConfig(True, 2_000_000, 86_400))
    assert Keyring.unseal(keyring.root, keyring.seal()) == keyring


def test_stored_keyring_opens_under_its_root_key_only() -> None:
    with pytest.raises(DecryptionFailed):
        Keyring.unseal(new_key(), Keyring.fresh(NOW).seal())


def test_upgrade_carries_the_next_key_to_who_has_the_one_before() -> None:
    first = Keyring.fresh(NOW)
    second = first.rotated(NOW)
    assert first.with_upgrade(second.upgrade()).keys == second.keys
    with pytest.raises(DecryptionFailed):
        Keyring.fresh(NOW).with_upgrade(second.upgrade())


def test_master_carries_the_root_key_to_who_has_the_term() -> None:
    renewed = Keyring.fresh(NOW).with_root(new_key())
    assert renewed.root_from(renewed.master()) == renewed.root


def test_wipe_overwrites_the_keys_but_those_still_in_use() -> None:
    first = Keyring.fresh(NOW)
    renewed = first.with_root(new_key())
    first.wipe(keep=renewed)
    assert first.root == bytes(32)
    assert first.keys[1].value != bytes(32)
    renewed.wipe()
    assert (renewed.root, renewed.keys[1].value) == (bytearray(32), bytearray(32))


def test_no_key_shows_in_a_representation() -> None:
    keyring = Keyring.fresh(NOW)
    keyring.encrypt("a", b"1")
    assert str(keyring.root) not in repr(keyring)
    assert str(keyring.keys[1].value) not in repr(keyring) + repr(keyring.keys[1])


def test_upgrade_is_bound_to_its_place() -> None:
    second = Keyring.fresh(NOW).rotated(NOW)
    with pytest.raises(DecryptionFailed):
        second.decrypt(paths.upgrade(2), second.upgrade())
