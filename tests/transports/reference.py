"""What RFC 6455 says of the bytes that a client sends, read without any library: is there a violation, and when."""

from __future__ import annotations

import codecs
from enum import Enum

DATA_OPCODES, CONTROL_OPCODES = (0, 1, 2), (8, 9, 10)
CLOSE = 8


class Verdict(Enum):
    """What a server has to make of all that a client sent."""

    VIOLATION = "it has to be closed with 1002, 1007 or 1009"
    CLOSED = "the client has closed it"
    OPEN = "nothing is wrong"
    EITHER = "the end is in the middle of what may be a violation"


class _Violation(Exception):
    pass


def judge(data: bytes, most: int) -> Verdict:
    """Judge a stream of frames, for a server that takes messages of up to `most` bytes."""
    place = 0
    message: _Message | None = None
    while place < len(data):
        head = data[place : place + 14]
        if len(head) < 2 or len(head) < (need := _head_bytes(head[1])):
            return Verdict.EITHER
        size = _size(head)
        opcode, fin = head[0] & 0x0F, bool(head[0] & 0x80)
        mask = head[need - 4 : need]
        payload = data[place + need : place + need + size]
        if len(payload) < size:
            # A server may know what is wrong from the head, and has to know it when too much has arrived.
            too_large = opcode in DATA_OPCODES and len(payload) + (message.size if message else 0) > most
            return Verdict.VIOLATION if too_large else Verdict.EITHER
        try:
            _check_head(head, opcode, fin, size, message is not None)
            if mask != bytes(4):
                payload = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
            if opcode in DATA_OPCODES and size + (message.size if message else 0) > most:
                raise _Violation
            place += need + size
            if opcode == CLOSE:
                _check_close(payload)
                return Verdict.CLOSED
            if opcode in DATA_OPCODES:
                message = message or _Message(opcode == 1)
                message.add(payload, fin)
                if fin:
                    message = None
        except _Violation:
            return Verdict.VIOLATION
    return Verdict.OPEN


class _Message:
    def __init__(self, text: bool) -> None:
        self.size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")() if text else None

    def add(self, payload: bytes, fin: bool) -> None:
        self.size += len(payload)
        if self._decoder is not None:
            try:
                self._decoder.decode(payload, final=fin)
            except UnicodeDecodeError:
                raise _Violation from None


def _head_bytes(second: int) -> int:
    """Return the size of the head of a frame, with its mask, by its second byte."""
    return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)


def _size(head: bytes) -> int:
    short = head[1] & 0x7F
    return {126: int.from_bytes(head[2:4], "big"), 127: int.from_bytes(head[2:10], "big")}.get(short, short)


def _check_head(head: bytes, opcode: int, fin: bool, size: int, within_message: bool) -> None:
    short = head[1] & 0x7F
    if head[0] & 0x70 or not head[1] & 0x80:
        raise _Violation  # an extension that was not negotiated, or no mask
    if (short == 126 and size < 126) or (short == 127 and not 65_536 <= size < 2**63):
        raise _Violation  # a length that is not written in its shortest form
    if opcode in CONTROL_OPCODES:
        if size > 125 or not fin:
            raise _Violation
    elif opcode not in DATA_OPCODES or within_message != (opcode == 0):
        raise _Violation


def _check_close(payload: bytes) -> None:
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (1000 <= code <= 1014 or 3000 <= code < 5000) or code in (1004, 1005, 1006):
        raise _Violation
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise _Violation from None
