//! How much a record matters. Where there is no room for all, those that matter least go first.

use std::time::Duration;

use http::StatusCode;

use crate::failure::{Reason, Side};

/// Kinds of records, in the order of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// An exchange that went well.
    Success,
    /// What a client did wrong, or did slowly. Clients can make as many of these as they like.
    Refused,
    /// What the application or the sidecar did wrong, or did slowly.
    Failed,
    /// What somebody changed, and what is said of the log itself.
    Audit,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Success, Self::Refused, Self::Failed, Self::Audit];

    /// The class of an exchange, which is slow from `slow` on.
    pub(super) fn of(
        status: Option<StatusCode>,
        reason: Option<Reason>,
        took: Duration,
        upstream: Option<Duration>,
        slow: Duration,
    ) -> Self {
        let is_own = reason.is_some_and(|reason| reason.side() != Side::Client);
        let is_slow = |took: Duration| took >= slow;
        let code = status.map_or(0, |status| status.as_u16());
        if reason == Some(Reason::Overloaded) {
            // Clients can make as many of these as they like, too.
            Self::Refused
        } else if is_own || code >= 500 || upstream.is_some_and(is_slow) {
            Self::Failed
        } else if reason.is_some() || code >= 400 || is_slow(took) {
            Self::Refused
        } else {
            Self::Success
        }
    }

    /// As it travels in an event.
    pub(super) fn number(self) -> u64 {
        self as u64
    }

    /// The class of that number; the heaviest for none.
    pub(super) fn numbered(number: u64) -> Self {
        Self::ALL
            .into_iter()
            .find(|class| class.number() == number)
            .unwrap_or(Self::Audit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_can_make_no_record_that_weighs_as_much_as_a_failure_of_the_application() {
        let second = Duration::from_secs(1);
        let class = |status: u16, reason, took, upstream| {
            let status = StatusCode::from_u16(status).ok();
            Class::of(status, reason, took, upstream, second)
        };
        let (short, none) = (Duration::ZERO, None);
        assert_eq!(class(200, None, short, none), Class::Success);
        assert_eq!(class(304, None, short, Some(short)), Class::Success);
        assert_eq!(class(404, None, short, none), Class::Refused);
        assert_eq!(class(200, None, second, Some(short)), Class::Refused);
        let gone = Some(Reason::ClientGone);
        assert_eq!(class(0, gone, short, none), Class::Refused);
        assert_eq!(class(500, None, short, none), Class::Failed);
        assert_eq!(class(200, None, second, Some(second)), Class::Failed);
        let too_many = Some(Reason::Overloaded);
        assert_eq!(class(503, too_many, short, none), Class::Refused);
        let cut = Some(Reason::UpstreamTruncated);
        assert_eq!(class(200, cut, short, none), Class::Failed);
        for class in Class::ALL {
            assert_eq!(Class::numbered(class.number()), class);
        }
    }
}
