//! The secret that whoever tells the admin server to act must know.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// A secret, of which only the digest is kept: nothing that prints this tells it, and comparing takes the same time whatever
/// is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The first line of a file.
    ///
    /// # Errors
    /// When it cannot be read, or what it holds can be guessed.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
        let secret = text.lines().next().unwrap_or_default().trim();
        if secret.len() < SHORTEST {
            return Err(format!("holds a token of fewer than {SHORTEST} characters, which could be guessed"));
        }
        Ok(Self::of(secret))
    }

    /// Whether that is the secret.
    #[must_use]
    pub fn is(&self, secret: &str) -> bool {
        Self::of(secret) == *self
    }

    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

/// Characters of a token.
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_first_line_counts_and_must_not_be_short() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(Token::read(&file).unwrap_err().contains("cannot be read"));
        fs::write(&file, "0123456789abcde\n").unwrap();
        assert!(Token::read(&file).unwrap_err().contains("fewer than 16"));
        fs::write(&file, "0123456789abcdef \nsecond").unwrap();
        let token = Token::read(&file).unwrap();
        assert!(token.is("0123456789abcdef") && !token.is("0123456789abcdeF") && !token.is(""));
        assert!(!format!("{token:?}").contains("0123456789abcdef"));
    }
}
