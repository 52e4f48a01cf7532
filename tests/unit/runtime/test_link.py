"""Exactly once and in order, whatever connections do."""

from hypothesis import given
from hypothesis import strategies as st

from scaler_protocol.messages import Notice
from scaler_runtime.link import ACKNOWLEDGE_MESSAGES, Link


def notices(count):
    return [Notice(str(number), "") for number in range(count)]


def drain(link):
    packets = []
    while packet := link.next_packet():
        packets.append(packet)
    return packets


def test_messages_arrive_in_order_and_are_forgotten_once_acknowledged():
    sender, receiver = Link(), Link()
    for message in notices(3):
        sender.put(message)
    arrived = [message for packet in drain(sender) for message in receiver.accept(packet)]
    assert arrived == notices(3)
    assert sender.unacknowledged_bytes > 0

    sender.accept(receiver.unsequenced())

    assert sender.unacknowledged_bytes == 0


def test_an_acknowledgement_is_owed_after_many_messages():
    sender, receiver = Link(), Link()
    for message in notices(ACKNOWLEDGE_MESSAGES):
        sender.put(message)
    for packet in drain(sender):
        receiver.accept(packet)
    assert receiver.owes_acknowledgement

    receiver.unsequenced()

    assert not receiver.owes_acknowledgement


def test_a_packet_taken_back_is_sent_again():
    sender = Link()
    sender.put(Notice("a", ""))
    first = sender.next_packet()
    sender.unsend(first)

    assert sender.next_packet() == first


def test_an_acknowledgement_of_what_was_never_sent_changes_nothing():
    sender = Link()
    sender.put(Notice("a", ""))
    sender.on_acknowledged(1000)

    assert sender.has_unsent


@given(st.lists(st.sampled_from(["send", "lose", "repeat", "reconnect", "acknowledge"]), max_size=60))
def test_nothing_is_lost_or_doubled_over_any_number_of_connections(steps):
    sender, receiver, arrived = Link(), Link(), []
    sent, last = 0, None
    for step in [*steps, "reconnect", "send"]:
        if step == "send":
            sender.put(Notice(str(sent), ""))
            sent += 1
            for packet in drain(sender):
                arrived += receiver.accept(packet)
                last = packet
        elif step == "lose":
            sender.put(Notice(str(sent), ""))
            sent += 1
            drain(sender)
        elif step == "repeat" and last is not None:
            arrived += receiver.accept(last)
        elif step == "reconnect":
            sender.rewind(receiver.received)
        elif step == "acknowledge":
            sender.accept(receiver.unsequenced())

    assert arrived == notices(sent)
