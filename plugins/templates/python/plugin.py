"""What this plugin is for."""

from dataclasses import dataclass

from lockgate import {{names}}


class {{Camel}}(Plugin):
    @dataclass
    class Config:
        """What `config = { .. }` holds where the plugin is used."""

        message: str

    def __init__(self, config: Config) -> None:
        if not config.message:
            raise ValueError("message: must not be empty")
        self.message = config.message
{{each code}}
