import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../sdk/python"))

from lockgate import testing

from plugin import Redact

TEXT = b"write to jane.doe@example.com or pay with 4111 1111 1111 1111, not 4111 1111 1111 1112; 12345"
WANT = b"write to [redacted] or pay with [redacted], not 4111 1111 1111 1112; 12345"


class TestRedact(unittest.TestCase):
    def test_however_a_text_is_cut_it_is_redacted_the_same(self):
        # Long enough that something goes on before the end.
        text, want = TEXT + b" " * 300 + TEXT, WANT + b" " * 300 + WANT
        for size in range(1, len(text) + 1):
            self.assertEqual(self.redacted(text, size), want, size)

    def test_what_is_no_text_goes_on_as_it_is(self):
        self.assertEqual(self.redacted(TEXT, 10, "image/png"), TEXT)
        self.assertEqual(self.redacted(TEXT, 10, "text/plain", [("content-encoding", "br")]), TEXT)

    def redacted(self, text: bytes, size: int, type="text/plain", headers=[]) -> bytes:
        testing.reset(response_headers=[("content-type", type), *headers])
        plugin = testing.configured(Redact, {})
        plugin.on_response()
        sent = b""
        for at in range(0, len(text), size):
            chunk, last = text[at : at + size], at + size >= len(text)
            action = plugin.on_response_body(chunk, last)
            sent += chunk if action is None else action.chunk
        plugin.on_response_finish(None)
        self.assertEqual(plugin.kept, {})
        return sent


if __name__ == "__main__":
    unittest.main()
