"""Takes addresses of e-mail and numbers of payment cards out of texts on their way to the client, chunk by chunk.

config = { types = ["text/", "application/json"], word = "[redacted]" }
"""

import re
from dataclasses import dataclass, field

from lockgate import Plugin, exchange, replace, request, response
from lockgate.metrics import Counter

EMAIL = rb"[A-Za-z0-9._%+-]{1,40}@[A-Za-z0-9-]{1,30}(?:\.[A-Za-z0-9-]{1,20}){1,2}"
CARD = rb"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])"
PATTERN = re.compile(EMAIL + rb"|" + CARD)

# No match is longer: so many bytes are kept back until it is known what follows them.
LONGEST = 128


class Redact(Plugin):
    @dataclass
    class Config:
        types: list = field(default_factory=lambda: ["text/", "application/json"])
        word: str = "[redacted]"

    def __init__(self, config: Config) -> None:
        self.types = tuple(config.types)
        self.word = config.word.encode()
        self.redacted = Counter("redacted")
        # What is kept back of the bodies that are under way, by exchange.
        self.kept: dict[int, bytes] = {}

    def on_request(self):
        # What is compressed cannot be read.
        del request.headers["accept-encoding"]

    def on_response(self):
        if response.headers.get("content-type", "").startswith(self.types) and "content-encoding" not in response.headers:
            self.kept[exchange.id()] = b""

    def on_response_body(self, chunk: bytes, last: bool):
        id = exchange.id()
        if id not in self.kept:
            return None
        text = self.kept[id] + chunk
        end = len(text) if last else max(len(text) - LONGEST, 0)
        done, at = [], 0
        for match in PATTERN.finditer(text):
            if match.end() > end and not last:
                # It may go on in the next chunk.
                end = min(end, match.start())
                break
            if b"@" in match[0] or is_card(match[0]):
                done += [text[at:match.start()], self.word]
                at = match.end()
                self.redacted.add()
        self.kept[id] = text[end:]
        return replace(b"".join([*done, text[at:end]]))

    def on_response_finish(self, summary):
        self.kept.pop(exchange.id(), None)


def is_card(number: bytes) -> bool:
    """Whether its last digit is what the others say (Luhn)."""
    digits = [digit - 48 for digit in number if 48 <= digit <= 57]
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(odd) + sum(2 * digit - 9 * (digit > 4) for digit in even)) % 10 == 0
