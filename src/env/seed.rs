//! Randomness for identifiers, jitter and placement.

/// Gives random bytes.
pub trait Seed: Send + Sync + std::fmt::Debug {
    /// Sixteen bytes for a fresh identifier; never the reserved low values (KIP-858 keeps the first hundred).
    fn uuid(&self) -> [u8; 16];
    /// A random number.
    fn number(&self) -> u64;
}

/// The operating system's randomness.
#[derive(Debug, Default)]
pub struct SystemSeed;

impl Seed for SystemSeed {
    fn uuid(&self) -> [u8; 16] {
        loop {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).expect("the operating system has randomness");
            // RFC 9562 version 4, as Kafka's Uuid.randomUuid; a leading '-' in base64 would look like an option.
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            if bytes[0] >> 2 != 0b11_1110 {
                return bytes;
            }
        }
    }

    fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        u64::from_le_bytes(bytes)
    }
}
