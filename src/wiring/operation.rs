//! What an operator may look at and change of the process itself: its configuration, its log, its end.

use portcullis_admin::{
    Caller, ConfigView, Configuration, InEffectView, LogLevel, LogLevelView, OptionView, Refusal,
};
use portcullis_certs::MinVersion;

use super::House;
use crate::config::Raw;

impl Configuration for House {
    fn view(&self) -> ConfigView {
        let config = &self.config;
        ConfigView {
            options: (*self.options).clone(),
            in_effect: InEffectView {
                service_name: config.service_name.clone(),
                workers: config.workers,
                max_connections: config.limits.capacity.connections,
                max_requests: config.limits.capacity.requests,
                tls_min: match config.certificates.min {
                    MinVersion::Tls12 => "1.2",
                    MinVersion::Tls13 => "1.3",
                },
                https: self.addresses.https.to_string(),
                redirect: self.addresses.redirect.map(|address| address.to_string()),
                admin: self.addresses.admin.to_string(),
                probe: self.addresses.probe.to_string(),
            },
        }
    }
}

/// Each option as it was said.
pub(super) fn said(raw: &Raw) -> Vec<OptionView> {
    let said = |name: &'static str| {
        let given = raw.get(name);
        OptionView {
            name: name.to_owned(),
            value: given.map(|given| given.text()),
            origin: given.map_or_else(|| "not set".to_owned(), |given| given.origin.to_string()),
        }
    };
    raw.options().map(|option| said(option.name)).collect()
}

impl LogLevel for House {
    fn current(&self) -> LogLevelView {
        LogLevelView {
            filter: self.log_filter.text(),
            configured: self.config.log_level.clone(),
        }
    }

    fn set(&self, filter: &str, caller: &Caller) -> Result<LogLevelView, Refusal> {
        let before = self.log_filter.text();
        if let Err(detail) = self.log_filter.set(filter) {
            let reason = "malformed";
            self.audit(LOG_LEVEL, "refused", reason, &detail, Some(caller));
            return Err(Refusal { reason, detail });
        }
        let detail = format!("{before} -> {filter}");
        tracing::info!(from = before, to = filter, "log level changed");
        self.audit(LOG_LEVEL, "done", "", &detail, Some(caller));
        Ok(LogLevel::current(self))
    }
}

const LOG_LEVEL: &str = "log_level";
