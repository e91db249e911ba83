//! What this plugin is for.

use lockgate_plugin::{Plugin{{imports}}};
use serde::Deserialize;

/// What `config = { .. }` holds where the plugin is used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    message: String,
}

struct {{Camel}} {
    config: Config,
}

impl Plugin for {{Camel}} {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.message.is_empty() {
            return Err("message: must not be empty".to_owned());
        }
        Ok(Self { config })
    }
}
{{each code}}
lockgate_plugin::export!({{Camel}}: {{names}});

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_plugin::{configured, testing};

    #[test]
    fn a_message_there_must_be() {
        assert_eq!(configured::<{{Camel}}>(r#"{"message": ""}"#).err().unwrap(), "message: must not be empty");
    }

    #[test]
    fn it_does_what_it_is_for() {
        testing::host(|host| {
            host.path = "/shop".to_owned();
            host.response_status = 200;
            host.backends = vec![testing::backend("http://10.0.0.1:8080")];
        });
        let mut plugin: {{Camel}} = configured(r#"{"message": "hello"}"#).unwrap();
{{each test}}
        assert_eq!(plugin.config.message, "hello");
    }
}
