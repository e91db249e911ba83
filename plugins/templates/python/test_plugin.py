import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lockgate/sdk/python"))

from lockgate import testing

from plugin import {{Camel}}


class Test{{Camel}}(unittest.TestCase):
    def test_a_message_there_must_be(self):
        with self.assertRaisesRegex(ValueError, "^message: must not be empty$"):
            testing.configured({{Camel}}, {"message": ""})

    def test_it_does_what_it_is_for(self):
        host = testing.reset(path="/shop", status=200)
        plugin = testing.configured({{Camel}}, {"message": "hello"})
{{each test}}
        self.assertEqual((host.method, plugin.message), ("GET", "hello"))


if __name__ == "__main__":
    unittest.main()
