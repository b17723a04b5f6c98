import pytest

from haven.ha.handshake import LIMIT, MAC, MAGIC, NONCE, Dialler, HandshakeFailed, Identity, Listener

KEY = bytes(range(32))
ONE = Identity("haven-1", "run-1", "http://haven-1:8200", "haven-1:8201")
TWO = Identity("haven-2", "run-2", "http://haven-2:8200", "haven-2:8201")


def converse(dialler: Dialler, listener: Listener) -> tuple[bytes, bytes, bytes]:
    hello = dialler.hello()
    challenge = listener.challenge(hello)
    return hello, challenge, dialler.answer(challenge)[1]


def test_both_learn_who_the_other_is_and_get_matching_keys() -> None:
    dialler, listener = Dialler(KEY, ONE), Listener(KEY, TWO)
    found, proof, mine = dialler.answer(listener.challenge(dialler.hello()))
    follower, theirs = listener.accept(proof)
    assert (found, follower) == (TWO, ONE)
    assert (mine.sending, mine.receiving) == (theirs.receiving, theirs.sending)
    assert mine.sending != mine.receiving
    assert len(mine.sending) == len(mine.receiving) == 32


def test_every_connection_has_keys_of_its_own_even_with_the_same_nonces() -> None:
    keys = set()
    for _ in range(2):
        dialler, listener = Dialler(KEY, ONE, lambda n: b"d" * n), Listener(KEY, TWO, lambda n: b"l" * n)
        keys.add(dialler.answer(listener.challenge(dialler.hello()))[2].sending)
    assert len(keys) == 2


def test_listener_without_the_key_is_refused() -> None:
    dialler, listener = Dialler(KEY, ONE), Listener(b"x" * 32, TWO)
    with pytest.raises(HandshakeFailed):
        dialler.answer(listener.challenge(dialler.hello()))


def test_dialler_without_the_key_is_refused() -> None:
    listener = Listener(KEY, TWO)
    listener.challenge(Dialler(b"x" * 32, ONE).hello())
    with pytest.raises(HandshakeFailed):
        listener.accept(b"\0" * MAC)


def test_replayed_conversation_is_refused_by_both_sides() -> None:
    hello, challenge, proof = converse(Dialler(KEY, ONE), Listener(KEY, TWO))
    listener = Listener(KEY, TWO)
    listener.challenge(hello)
    with pytest.raises(HandshakeFailed):
        listener.accept(proof)
    with pytest.raises(HandshakeFailed):
        Dialler(KEY, ONE).answer(challenge)


def test_proof_is_good_only_once() -> None:
    dialler, listener = Dialler(KEY, ONE), Listener(KEY, TWO)
    _, _, proof = converse(dialler, listener)
    listener.accept(proof)
    with pytest.raises(HandshakeFailed):
        listener.accept(proof)


def test_message_sent_back_to_its_author_proves_nothing() -> None:
    listener = Listener(KEY, TWO)
    challenge = listener.challenge(Dialler(KEY, ONE).hello())
    with pytest.raises(HandshakeFailed):
        listener.accept(challenge[:MAC])
    dialler = Dialler(KEY, ONE)
    with pytest.raises(HandshakeFailed):
        dialler.answer(b"\0" * MAC + dialler.hello()[len(MAGIC) :])


def test_node_that_reaches_itself_is_refused() -> None:
    with pytest.raises(HandshakeFailed, match="itself"):
        Listener(KEY, ONE).challenge(Dialler(KEY, ONE).hello())


@pytest.mark.parametrize("position", [0, MAC, MAC + NONCE, -3])
def test_changed_challenge_is_refused(position: int) -> None:
    dialler = Dialler(KEY, ONE)
    challenge = bytearray(Listener(KEY, TWO).challenge(dialler.hello()))
    challenge[position] ^= 1
    with pytest.raises(HandshakeFailed):
        dialler.answer(bytes(challenge))


@pytest.mark.parametrize("position", [len(MAGIC), len(MAGIC) + NONCE, -3])
def test_hello_changed_on_the_way_is_refused_by_the_dialler(position: int) -> None:
    dialler, listener = Dialler(KEY, ONE), Listener(KEY, TWO)
    hello = bytearray(dialler.hello())
    hello[position] ^= 1
    with pytest.raises(HandshakeFailed):
        dialler.answer(listener.challenge(bytes(hello)))


@pytest.mark.parametrize(
    "hello",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        MAGIC,
        MAGIC + b"n" * 64,
        MAGIC + b"n" * 64 + b"{}",
        MAGIC + b"n" * 70,
        MAGIC + b"n" * 64 + b"[" * 1980,
    ],
)
def test_nonsense_in_place_of_a_hello_is_refused(hello: bytes) -> None:
    with pytest.raises(HandshakeFailed):
        Listener(KEY, TWO).challenge(hello)


def test_identity_with_a_field_of_another_kind_is_refused() -> None:
    raw = b'{"node": 1, "run": "r", "api_address": "", "cluster_address": ""}'
    with pytest.raises(HandshakeFailed):
        Identity.from_bytes(raw)


def test_message_over_the_limit_is_refused() -> None:
    with pytest.raises(HandshakeFailed):
        Listener(KEY, TWO).challenge(MAGIC + b"n" * (LIMIT + 1))


def test_public_key_that_fixes_the_secret_is_refused() -> None:
    dialler, listener = Dialler(KEY, ONE), Listener(KEY, TWO)
    dialler._own = type(dialler._own)(dialler._own.nonce, b"\0" * 32, dialler._own.identity)
    challenge = listener.challenge(dialler.hello())
    _, proof, _ = dialler.answer(challenge)
    with pytest.raises(HandshakeFailed):
        listener.accept(proof)


def test_short_key_is_refused_and_no_key_shows() -> None:
    with pytest.raises(ValueError, match="32"):
        Dialler(b"short", ONE)
    dialler, listener = Dialler(KEY, ONE), Listener(KEY, TWO)
    keys = dialler.answer(listener.challenge(dialler.hello()))[2]
    assert keys.sending.hex() not in repr(keys)
    assert repr(keys.sending) not in repr(keys)
