//! The ids of records.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// A UUIDv7 (RFC 9562): sorts by time, unique across replicas. Its random bits only have to differ, not to be secret.
pub(super) fn new_id(time: SystemTime) -> Uuid {
    let millis = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&fastrand::u64(..).to_le_bytes());
    random[8..].copy_from_slice(&fastrand::u16(..).to_le_bytes());
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
