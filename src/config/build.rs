//! Gathered text to a checked [`Config`]; every mistake goes on the list, and parsing goes on.

use super::gather::Raw;
use super::given::Given;
use super::{
    Config, Limits, Networks, admin, certificates, combination, parse, recording, restrictions,
    traces,
};
use crate::log_filter;
use crate::machine::{self, Capacity};
use crate::upstream::TargetUrl;

/// None when something is missing that nothing can stand in for; `mistakes` then says what.
pub(super) fn build(raw: &Raw, mistakes: &mut Vec<String>) -> Option<Config> {
    let mut fields = Fields { raw, mistakes };
    let (certificates, client_auth_exempt) = certificates::read(&mut fields);
    let config = Config {
        service_name: service_name(raw),
        target: fields.parse("target", TargetUrl::parse)?,
        allow_remote_target: fields.parse("allow-remote-target", parse::switch)?,
        target_locked: fields.parse("target-locked", parse::switch)?,
        listen: fields.parse("listen", parse::address)?,
        redirect: fields.optional("redirect", parse::address),
        redirect_port: fields.parse("redirect-port", port)?,
        redirect_exempt: fields.all("redirect-exempt", parse::exact_path),
        allow_clients: Networks(fields.all("allow-client", parse::network)),
        trusted_proxies: Networks(fields.all("trusted-proxy", parse::network)),
        proxy_protocol: fields.parse("proxy-protocol", parse::switch)?,
        header_case_kept: fields.parse("header-case", header_case)?,
        fix_redirects: fields.parse("fix-redirects", parse::switch)?,
        admin: admin::read(&mut fields, &certificates)?,
        probe: fields.parse("probe", parse::address)?,
        app_health: fields.optional("app-health", parse::path_and_query),
        require_loopback_app: fields.parse("require-loopback-app", parse::switch)?,
        certificates,
        client_auth_exempt,
        close_on_trust_change: fields.parse("close-on-trust-change", parse::switch)?,
        hsts: fields.optional("hsts", parse::duration),
        recording: recording::read(&mut fields)?,
        traces: traces::read(&mut fields)?,
        drain_delay: fields.parse("drain-delay", parse::duration)?,
        drain_timeout: fields.parse("drain-timeout", parse::duration)?,
        grace_period: fields.optional("grace-period", parse::grace_period),
        restrictions: restrictions::read(&mut fields)?,
        workers: fields.parse("workers", |text| auto(text, machine::workers))?,
        log_level: raw.get("log-level")?.text(),
        limits: fields.limits()?,
    };
    fields.parse("log-level", log_filter::check)?;
    combination::check(&config, mistakes);
    Some(config)
}

pub(super) struct Fields<'a> {
    pub(super) raw: &'a Raw,
    pub(super) mistakes: &'a mut Vec<String>,
}

impl Fields<'_> {
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.all(name, parse).pop()
    }

    /// For an option that may be given several times.
    pub(super) fn all<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(given) = self.raw.get(name) else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for text in &given.texts {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(error) => self
                    .mistakes
                    .push(format!("--{name} ({}): {error}", given.origin)),
            }
        }
        values
    }

    /// For an option that has a default: a mistake stands on the list, and the default's value goes on in its place, so
    /// that later mistakes are found in the same run.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if let Some(value) = self.optional(name, &parse) {
            return Some(value);
        }
        let default = super::options().find(|opt| opt.name == name)?.default?;
        parse(default).ok()
    }

    fn limits(&mut self) -> Option<Limits> {
        let wishes = ["max-connections", "max-requests"].map(|name| self.parse(name, wish));
        let [connections, requests] = wishes;
        Some(Limits {
            capacity: Capacity::of(connections?, requests?),
            handshake_timeout: self.parse("handshake-timeout", wait)?,
            max_handshakes: self.parse("max-handshakes", parse::count)?,
            head_timeout: self.parse("head-timeout", wait)?,
            idle_timeout: self.parse("idle-timeout", wait)?,
            max_head: self.parse("max-head", |text| between(text, 1 << 10, 16 << 20))?,
            max_headers: self.parse("max-headers", fields)?,
            max_uri: self.parse("max-uri", |text| between(text, 256, 16 << 20))?,
            max_body: positive(self.parse("max-body", parse::size)?),
            stall_timeout: self.parse("stall-timeout", wait)?,
            min_rate: self.parse("min-rate", parse::size)? as u64,
            connect_timeout: self.parse("connect-timeout", wait)?,
            connect_retry_for: self.parse("connect-retry-for", parse::duration)?,
            resolve_every: self.parse("resolve-every", wait)?,
            response_timeout: self.parse("response-timeout", wait)?,
            pool_idle: self.parse("pool-idle", parse::duration)?,
            h2_streams: self.parse("h2-streams", |text| fits(parse::count(text)?))?,
            h2_window: self.parse("h2-window", |text| {
                fits(between(text, 16 << 10, i32::MAX as usize)?)
            })?,
            h2_header_list: self.parse("h2-header-list", |text| fits(parse::size(text)?))?,
            spool: self.parse("spool", |text| between(text, 0, 16 << 20))?,
            max_connection_age: self.parse("max-connection-age", parse::duration)?,
            max_requests_per_connection: positive(
                self.parse("max-requests-per-connection", parse::number)?,
            ),
            max_connections_per_client: self.parse("max-connections-per-client", parse::number)?,
        })
    }
}

fn between(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let size = parse::size(text)?;
    if (least..=most).contains(&size) {
        Ok(size)
    } else {
        Err(format!("{text:?} is not between {least} and {most} bytes"))
    }
}

/// What 0 switches off.
fn positive(value: usize) -> Option<u64> {
    (value > 0).then_some(value as u64)
}

/// HTTP needs some, and each costs.
fn fields(text: &str) -> Result<usize, String> {
    let count = parse::count(text)?;
    if count <= 10_000 {
        Ok(count)
    } else {
        Err(format!("{count} is more than 10000"))
    }
}

fn service_name(raw: &Raw) -> String {
    let hostname = || {
        std::env::var("HOSTNAME")
            .ok()
            .filter(|name| !name.is_empty())
    };
    raw.get("service-name")
        .map(Given::text)
        .or_else(hostname)
        .unwrap_or_else(|| "portcullis".to_owned())
}

/// A wait of nothing would refuse everybody.
fn wait(text: &str) -> Result<std::time::Duration, String> {
    let duration = parse::duration(text)?;
    if duration.is_zero() {
        Err("must be above 0".to_owned())
    } else {
        Ok(duration)
    }
}

/// HTTP/2 settings are 31 bits wide (RFC 9113, section 6.5.2).
fn fits(value: usize) -> Result<u32, String> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value <= i32::MAX as u32)
        .ok_or_else(|| format!("{value} is more than HTTP/2 can carry (2147483647)"))
}

fn wish(text: &str) -> Result<Option<usize>, String> {
    if text == "auto" {
        Ok(None)
    } else {
        let count = parse::count(text);
        count
            .map(Some)
            .map_err(|error| format!("{error}, nor auto"))
    }
}

fn auto(text: &str, found: impl Fn() -> usize) -> Result<usize, String> {
    Ok(wish(text)?.unwrap_or_else(found))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("{text:?} is not a port (1 to 65535)"))
}

fn header_case(text: &str) -> Result<bool, String> {
    match text {
        "original" => Ok(true),
        "lower" => Ok(false),
        _ => Err(format!("{text:?} is not known; use original or lower")),
    }
}
