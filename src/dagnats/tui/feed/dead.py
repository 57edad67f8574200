"""The dead letters the console knows: the newest, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable

from dagnats.model.records import DeadLetter

KEEP = 5_000
"""Letters kept; the newest."""

BODY_BYTES = 64 * 1024
"""How much of a body is kept; ``get_dead`` reads the whole."""


class DeadIndex:
    """Dead letters by sequence.

    Attributes:
        total: how many there are on the server.
        last_seq: how far the queue has been read.
        version: grows with every change.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self.keep = keep
        self.total = 0
        self.last_seq = 0
        self.version = 0
        self._letters: dict[int, DeadLetter] = {}

    def __len__(self) -> int:
        return len(self._letters)

    def newest(self) -> list[DeadLetter]:
        """The letters that are kept, newest first."""
        return [self._letters[seq] for seq in sorted(self._letters, reverse=True)]

    def get(self, sequence: int) -> DeadLetter | None:
        """A letter by its sequence."""
        return self._letters.get(sequence)

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Take over letters that arrived."""
        for letter in letters:
            if len(letter.body) > BODY_BYTES:
                letter.body = letter.body[:BODY_BYTES]
            self._letters[letter.sequence] = letter
            self.last_seq = max(self.last_seq, letter.sequence)
        self.version += 1
        for sequence in sorted(self._letters)[: max(0, len(self._letters) - self.keep)]:
            del self._letters[sequence]

    def replace(self, letters: Iterable[DeadLetter], total: int) -> None:
        """Take over the queue as it is: some have left it."""
        self._letters.clear()
        self.total = total
        self.add(letters)

    def drop(self, sequences: Iterable[int]) -> None:
        """Forget letters that were replayed or discarded."""
        for sequence in sequences:
            if self._letters.pop(sequence, None) is not None:
                self.total = max(0, self.total - 1)
                self.version += 1
