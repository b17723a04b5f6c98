import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haven.ha import frames
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.frames import (
    CHUNK,
    LENGTH,
    Assembler,
    Frame,
    FrameError,
    Kind,
    Message,
    MessageTooLarge,
    OpeningCipher,
    Outcome,
    SealingCipher,
    read_request,
    read_response,
    request_message,
    response_message,
    split,
    wire_length,
)

KEY = b"k" * 32


def assemble(message: Message, assembler: Assembler | None = None) -> Message:
    assembler = assembler or Assembler()
    first, *rest = split(message)
    whole = assembler.begin(first)
    for frame in rest:
        whole = assembler.go_on(frame) or whole
    assert isinstance(whole, Message)
    return whole


def opened(cipher: OpeningCipher, wire: bytes) -> Frame:
    assert wire_length(wire[:LENGTH]) == len(wire) - LENGTH
    return cipher.open(wire[:LENGTH], wire[LENGTH:])


def test_frames_open_in_order_and_show_nothing_on_the_wire() -> None:
    sealing, opening = SealingCipher(KEY), OpeningCipher(KEY)
    for number in range(3):
        frame = Frame(Kind.REQUEST, number, b"token s.secret", last=False)
        wire = sealing.seal(frame)
        assert b"secret" not in wire
        assert opened(opening, wire) == frame


def test_same_frame_looks_different_each_time() -> None:
    sealing = SealingCipher(KEY)
    assert sealing.seal(Frame(Kind.PING)) != sealing.seal(Frame(Kind.PING))


def test_repeated_frame_does_not_open() -> None:
    opening, wire = OpeningCipher(KEY), SealingCipher(KEY).seal(Frame(Kind.PING))
    opened(opening, wire)
    with pytest.raises(FrameError):
        opened(opening, wire)


def test_frame_after_a_lost_one_does_not_open() -> None:
    sealing, opening = SealingCipher(KEY), OpeningCipher(KEY)
    sealing.seal(Frame(Kind.PING))
    with pytest.raises(FrameError):
        opened(opening, sealing.seal(Frame(Kind.PING)))


@pytest.mark.parametrize("position", [LENGTH, -1])
def test_changed_frame_does_not_open(position: int) -> None:
    wire = bytearray(SealingCipher(KEY).seal(Frame(Kind.PING, payload=b"xyz")))
    wire[position] ^= 1
    with pytest.raises(FrameError):
        opened(OpeningCipher(KEY), bytes(wire))


def test_frame_of_the_other_direction_does_not_open() -> None:
    with pytest.raises(FrameError):
        opened(OpeningCipher(b"o" * 32), SealingCipher(KEY).seal(Frame(Kind.PING)))


@pytest.mark.parametrize("length", [0, 5, CHUNK + 1000, 2**32 - 1])
def test_length_out_of_bounds_is_refused_before_anything_is_read(length: int) -> None:
    with pytest.raises(FrameError):
        wire_length(length.to_bytes(4, "big"))


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\xff\x01\0\0\0\0"])
def test_nonsense_is_no_frame(raw: bytes) -> None:
    with pytest.raises(FrameError):
        Frame.from_bytes(raw)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([0, 1, 100, CHUNK - 60, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]), st.text())
def test_message_survives_its_frames(size: int, target: str) -> None:
    target = target.encode("utf-8", "replace").decode()
    request = RawRequest("PUT", target, {"x-vault-token": "s.1"}, bytes(size))
    message = request_message(7, request)
    assert all(len(frame.payload) <= CHUNK for frame in split(message))
    assert read_request(assemble(message)) == request


@pytest.mark.parametrize("size", [0, 10, CHUNK * 2])
def test_response_survives_its_frames(size: int) -> None:
    response = RawResponse(404, {"content-type": "application/json"}, b"e" * size)
    assert read_response(assemble(response_message(3, Outcome.ANSWERED, response))) == response


@pytest.mark.parametrize("outcome", [Outcome.NOT_EXECUTED, Outcome.UNKNOWN])
def test_absence_of_an_answer_says_why(outcome: Outcome) -> None:
    assert read_response(assemble(response_message(3, outcome))) is outcome


def test_messages_may_be_interleaved() -> None:
    assembler = Assembler()
    one, two = (list(split(Message(Kind.REQUEST, n, {}, bytes([n]) * 2 * CHUNK))) for n in (1, 2))
    assembler.begin(one[0])
    assembler.begin(two[0])
    whole = [assembler.go_on(frame) for pair in zip(one[1:], two[1:], strict=True) for frame in pair]
    assert [message.body[:1] for message in whole if message] == [b"\x01", b"\x02"]


def test_message_over_the_limits_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MessageTooLarge):
        split(Message(Kind.REQUEST, 1, {"headers": "h" * CHUNK}))
    monkeypatch.setattr(frames, "BODY_LIMIT", 100)
    split(Message(Kind.REQUEST, 1, {}, bytes(100)))
    with pytest.raises(MessageTooLarge):
        split(Message(Kind.REQUEST, 1, {}, bytes(101)))


def test_message_that_does_not_fit_is_dropped_with_its_rest_and_the_others_go_on() -> None:
    assembler = Assembler(limit_bytes=3 * CHUNK)
    first, second = (list(split(Message(Kind.REQUEST, n, {}, bytes(2 * CHUNK)))) for n in (1, 2))
    assert assembler.begin(first[0]) is True
    assert assembler.begin(second[0]) is False
    assert [assembler.go_on(frame) for frame in second[1:]] == [None] * len(second[1:])
    assert isinstance([assembler.go_on(frame) for frame in first[1:]][-1], Message)
    assert assembler.begin(next(split(Message(Kind.REQUEST, 3, {}, bytes(3 * CHUNK))))) is True


def test_cancelled_message_gives_its_room_back() -> None:
    assembler = Assembler(limit_bytes=2 * CHUNK)
    assembler.begin(next(split(Message(Kind.REQUEST, 1, {}, bytes(2 * CHUNK)))))
    assembler.cancel(1)
    assert assembler.begin(next(split(Message(Kind.REQUEST, 2, {}, bytes(2 * CHUNK))))) is True


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0\0\x02{}",
        b"\0\0\0\x02[]",
        b"\0\0\0\x05nope!",
        b'\0\0\0\x0b{"size":-1}',
        b'\0\0\0\x12{"size":9999999999}',
        b'\0\0\0\x0a{"size":1}xx',
        b'\0\0\0\x0a{"size":3}xx',
        b'\0\0\0\x0d{"size":null}',
    ],
)
def test_nonsense_is_no_message(payload: bytes) -> None:
    with pytest.raises(FrameError):
        Assembler().begin(Frame(Kind.REQUEST, 1, payload))


def test_rest_without_a_beginning_and_a_number_twice_are_refused() -> None:
    assembler = Assembler()
    with pytest.raises(FrameError):
        assembler.go_on(Frame(Kind.REST, 9, b"x"))
    begin = next(split(Message(Kind.REQUEST, 1, {}, bytes(2 * CHUNK))))
    assembler.begin(begin)
    with pytest.raises(FrameError):
        assembler.begin(begin)


@pytest.mark.parametrize("meta", [{}, {"method": "GET", "target": "/", "headers": 5}])
def test_request_without_its_parts_is_refused(meta: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        read_request(Message(Kind.REQUEST, 1, meta))


@pytest.mark.parametrize(
    "meta", [{}, {"outcome": 9}, {"outcome": 0}, {"outcome": 0, "status": "x", "headers": {}}]
)
def test_response_without_its_parts_is_refused(meta: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        read_response(Message(Kind.RESPONSE, 1, meta))


def test_no_repr_shows_a_body_or_a_header() -> None:
    message = request_message(1, RawRequest("PUT", "/v1/x", {"x-vault-token": "s.secret"}, b"s.secret"))
    assert "s.secret" not in repr(message)
    assert "s.secret" not in repr(next(split(message)))
    assert "s.secret" not in repr(read_request(message))
