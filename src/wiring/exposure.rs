//! Whether the application can be reached past the sidecar, as the operator and the metrics see it.

use portcullis_admin::BypassView;

use super::House;
use crate::exposure::{Finding, Guard};

impl House {
    /// What keeps the sidecar from being ready.
    pub(super) fn doubt(&self) -> Option<String> {
        if !self.config.require_loopback_app {
            return None;
        }
        let doubt = match self.guard.finding() {
            Some(finding) => finding.doubt()?,
            None => "the port of the application has not been looked at yet".to_owned(),
        };
        Some(format!("{doubt} (--require-loopback-app)"))
    }

    /// What is wrong although clients are served.
    pub(super) fn exposed(&self) -> Option<String> {
        let finding = self.guard.finding()?;
        let trouble = finding.trouble()?;
        Some(match finding.fix() {
            Some(fix) => format!("{trouble}; {fix}"),
            None => trouble,
        })
    }

    pub(super) fn bypass(&self) -> Option<BypassView> {
        match self.guard.finding()? {
            Finding::Port { port, reachable_at } => Some(BypassView {
                port,
                reachable_at: reachable_at.iter().map(ToString::to_string).collect(),
            }),
            Finding::NoPort | Finding::Elsewhere | Finding::Unknown { .. } => None,
        }
    }
}

/// None where that is not known.
pub(super) fn is_bypassed(guard: &Guard) -> Option<bool> {
    match guard.finding()? {
        Finding::Port { reachable_at, .. } => Some(!reachable_at.is_empty()),
        Finding::NoPort => Some(false),
        Finding::Elsewhere | Finding::Unknown { .. } => None,
    }
}
