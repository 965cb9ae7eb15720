"""Boards: reach a device, time models on it, measure their memory, keep every burst in a store."""

from hakd.boards.device import Device
from hakd.boards.points import PROTOCOL, Burst, Point, Protocol, Unmeasurable
from hakd.boards.session import Board, open_board

__all__ = ["PROTOCOL", "Board", "Burst", "Device", "Point", "Protocol", "Unmeasurable", "open_board"]
