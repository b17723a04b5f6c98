from haven.ha.frames import CHUNK, Frame, Kind, Message
from haven.ha.outbox import Outbox


def message(number: int, chunks: int) -> Message:
    return Message(Kind.REQUEST, number, {}, bytes(chunks * CHUNK))


def drain(outbox: Outbox) -> list[Frame]:
    frames = []
    while frame := outbox.next():
        frames.append(frame)
    return frames


async def test_lone_frames_go_before_the_rest_of_a_big_message() -> None:
    outbox = Outbox()
    outbox.send(message(1, 3))
    outbox.next()
    outbox.post(Frame(Kind.PING))
    assert [frame.kind for frame in drain(outbox)] == [Kind.PING, Kind.REST, Kind.REST, Kind.REST]


async def test_messages_take_turns() -> None:
    outbox = Outbox()
    outbox.send(message(1, 2))
    outbox.send(message(2, 0))
    assert [frame.number for frame in drain(outbox)] == [1, 2, 1, 1]


async def test_message_is_complete_only_with_its_last_frame() -> None:
    outbox = Outbox()
    sending = outbox.send(message(1, 1))
    outbox.next()
    assert (sending.begun, sending.complete) == (True, False)
    outbox.next()
    assert sending.complete
    assert not outbox.withdraw(sending)


async def test_message_withdrawn_before_it_began_leaves_no_trace() -> None:
    outbox = Outbox()
    assert outbox.withdraw(outbox.send(message(1, 1)))
    assert drain(outbox) == []
    assert outbox.empty


async def test_message_withdrawn_halfway_is_cancelled() -> None:
    outbox = Outbox()
    sending = outbox.send(message(1, 5))
    outbox.next()
    assert outbox.withdraw(sending)
    assert outbox.withdraw(sending)
    assert drain(outbox) == [Frame(Kind.CANCEL, 1)]
