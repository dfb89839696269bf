//! The keys of session tickets (RFC 5077, RFC 8446 section 4.6.1): from a seed that replicas share, or random.
//!
//! Keys live for an epoch of six hours of wall-clock time; those of the epoch before and after open tickets, too, so that
//! replicas need no common clock to the second. AES-256-GCM-SIV (RFC 8452) forgives the repeated nonce that random nonces
//! and many replicas make thinkable. Each ticket is bound to the policy under which it was made: with another client CA,
//! CRL or `--allow-san` it does not open, and the client shakes hands in full.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::crypto::hex;
use crate::error::LoadError;

/// What replicas share.
pub(crate) struct Seed {
    prk: Prk,
    /// Tells one seed from another, and nothing of either.
    pub(crate) fingerprint: String,
}

impl Seed {
    /// Any bytes, binary or text, as long as there are enough of them; a line end does not count where it need not.
    pub(crate) fn prove((path, bytes): (&Path, &[u8])) -> Result<Self, LoadError> {
        let bare = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        let bytes = if bare.len() < LEAST_SEED { bytes } else { bare };
        if bytes.len() < LEAST_SEED {
            return Err(LoadError::ShortSeed {
                path: path.into(),
                length: bytes.len(),
                least: LEAST_SEED,
            });
        }
        let mut seed = Self {
            prk: Salt::new(HKDF_SHA256, SALT).extract(bytes),
            fingerprint: String::new(),
        };
        if let Some(derived) = seed.derive::<8>(b"fingerprint", 0) {
            seed.fingerprint = hex(derived.as_ref());
        }
        Ok(seed)
    }

    fn derive<const N: usize>(&self, what: &[u8], epoch: u64) -> Option<Zeroizing<[u8; N]>> {
        let mut out = Zeroizing::new([0; N]);
        let info = [what, &epoch.to_be_bytes()];
        self.prk
            .expand(&info, Length(N))
            .and_then(|expanded| expanded.fill(out.as_mut()))
            .ok()?;
        Some(out)
    }
}

/// The keys of three epochs: the one before, this one, the next.
struct Ring {
    epoch: u64,
    keys: Vec<(u64, Arc<Key>)>,
}

struct Key {
    name: [u8; NAME],
    aead: RandomizedNonceKey,
}

impl Key {
    fn new(seed: Option<&Seed>, epoch: u64) -> Option<Self> {
        let (name, bytes) = match seed {
            Some(seed) => (
                seed.derive(b"name", epoch)?,
                seed.derive::<KEY>(b"key", epoch)?,
            ),
            None => (random()?, random()?),
        };
        Some(Self {
            name: *name,
            aead: RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes.as_ref()).ok()?,
        })
    }
}

fn random<const N: usize>() -> Option<Zeroizing<[u8; N]>> {
    let mut out = Zeroizing::new([0; N]);
    rand::fill(out.as_mut()).ok()?;
    Some(out)
}

/// The ticket keys of the process, for all generations.
#[derive(Default)]
pub(crate) struct TicketKeys {
    ring: ArcSwapOption<Ring>,
    /// None: random keys. Held while a new ring is made.
    seed: Mutex<Option<Seed>>,
}

impl TicketKeys {
    /// Takes a seed from now on. What was sealed before does not open any more: a seed is replaced because somebody else
    /// may know it, and who knows it can make tickets.
    pub(crate) fn reseed(&self, seed: Seed) {
        let mut current = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(seed);
        self.ring.store(None);
    }

    /// Which seed the keys come from; none when they are random.
    pub(crate) fn seed(&self) -> Option<String> {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        seed.as_ref().map(|seed| seed.fingerprint.clone())
    }

    fn ring(&self, epoch: u64) -> Option<Arc<Ring>> {
        if let Some(ring) = self.ring.load_full().filter(|ring| ring.epoch == epoch) {
            return Some(ring);
        }
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.load_full();
        if let Some(ring) = before.as_ref().filter(|ring| ring.epoch == epoch) {
            return Some(Arc::clone(ring));
        }
        // Random keys of an epoch that is still accepted must stay what they are; those that fall out are gone for good.
        let known = |epoch: u64| {
            let keys = &before.as_ref()?.keys;
            let (_, key) = keys.iter().find(|(of, _)| *of == epoch)?;
            Some(Arc::clone(key))
        };
        let keys = [epoch.saturating_sub(1), epoch, epoch + 1]
            .into_iter()
            .map(|epoch| {
                let key = known(epoch).or_else(|| Key::new(seed.as_ref(), epoch).map(Arc::new))?;
                Some((epoch, key))
            })
            .collect::<Option<_>>()?;
        let ring = Arc::new(Ring { epoch, keys });
        self.ring.store(Some(Arc::clone(&ring)));
        Some(ring)
    }

    /// `name ‖ nonce ‖ ciphertext ‖ tag`.
    pub(crate) fn seal(&self, epoch: u64, bound_to: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let ring = self.ring(epoch)?;
        let (_, key) = ring.keys.iter().find(|(of, _)| *of == epoch)?;
        let mut body = Vec::with_capacity(plain.len() + TAG);
        body.extend_from_slice(plain);
        let nonce = key
            .aead
            .seal_in_place_append_tag(Aad::from(bound_to), &mut body)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + body.len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut body);
        Some(ticket)
    }

    /// None for whatever was not sealed by a key that is accepted, or under another policy.
    pub(crate) fn open(&self, epoch: u64, bound_to: &[u8], ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let ring = self.ring(epoch)?;
        // The name is no secret: it stands in the clear on the wire.
        let (_, key) = ring.keys.iter().find(|(_, key)| key.name == name)?;
        let mut body = body.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key
            .aead
            .open_in_place(nonce, Aad::from(bound_to), &mut body)
            .ok()?;
        let length = plain.len();
        body.truncate(length);
        Some(body)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({})", self.fingerprint)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Separates these keys from any other use of the same seed.
const SALT: &[u8] = b"portcullis session ticket keys v1";
/// Bytes. As many as a key has.
const LEAST_SEED: usize = 32;
const NAME: usize = 16;
const KEY: usize = 32;
const TAG: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(seed: &[u8]) -> TicketKeys {
        let keys = TicketKeys::default();
        keys.reseed(Seed::prove((Path::new("seed"), seed)).unwrap());
        keys
    }

    const SEED: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn who_shares_a_seed_opens_the_tickets_of_the_epochs_around_this_one() {
        let (one, other) = (seeded(SEED), seeded(b"0123456789abcdef0123456789abcdef\n"));
        let ticket = one.seal(100, b"policy", b"session").unwrap();
        for (epoch, opens) in [
            (98, false),
            (99, true),
            (100, true),
            (101, true),
            (102, false),
        ] {
            let plain = other.open(epoch, b"policy", &ticket);
            assert_eq!(
                plain.as_deref(),
                opens.then_some(&b"session"[..]),
                "{epoch}"
            );
        }
        assert_eq!(other.open(100, b"another policy", &ticket), None);
        assert_eq!(
            seeded(b"another seed, just as long as that").open(100, b"policy", &ticket),
            None
        );
    }

    #[test]
    fn random_keys_stay_for_their_epochs_and_are_nobody_elses() {
        let keys = TicketKeys::default();
        let ticket = keys.seal(7, b"", b"x").unwrap();
        assert_eq!(keys.open(8, b"", &ticket).as_deref(), Some(&b"x"[..]));
        assert_eq!(keys.open(9, b"", &ticket), None);
        // Gone for good, also for a clock that goes back.
        assert_eq!(keys.open(8, b"", &ticket), None);
        assert_eq!(TicketKeys::default().open(7, b"", &ticket), None);
    }

    #[test]
    fn a_changed_ticket_and_one_from_before_a_new_seed_do_not_open() {
        let keys = seeded(SEED);
        let ticket = keys.seal(1, b"p", b"session").unwrap();
        for at in 0..ticket.len() {
            let mut broken = ticket.clone();
            broken[at] ^= 1;
            assert_eq!(keys.open(1, b"p", &broken), None, "{at}");
            assert_eq!(keys.open(1, b"p", &ticket[..at]), None, "{at}");
        }
        keys.reseed(Seed::prove((Path::new(""), &[7; 32])).unwrap());
        assert_eq!(keys.open(1, b"p", &ticket), None);
    }

    #[test]
    fn a_short_seed_is_refused() {
        assert!(Seed::prove((Path::new(""), &[1; 31])).is_err());
        // The last of 32 random bytes may be one.
        let binary = [&[b'a'; 31][..], b"\n"].concat();
        assert!(Seed::prove((Path::new(""), &binary)).is_ok());
    }
}
