//! Judgements on the application: whether it can be reached past the sidecar, whether it answers, and how.

use std::net::SocketAddr;
use std::time::Duration;

use http::{StatusCode, Version};

use super::finding::{Finding, State};
use crate::exposure::{Finding as Exposure, listed};
use crate::upstream::{Answered, AskError, KeepAlive, Protocol, TargetUrl};

/// Whether its plain port is open to others.
pub(super) fn exposure(seen: &Exposure) -> Option<Finding> {
    let state = match seen {
        // A target elsewhere has a finding of its own.
        Exposure::Elsewhere => return None,
        Exposure::NoPort => {
            return Some(State::Ok.of("plain port", "there is none: the target is a Unix socket"));
        }
        Exposure::Port { port, reachable_at } if reachable_at.is_empty() => {
            let words = format!("port {port} is open on the loopback at most");
            return Some(State::Ok.of("plain port", words));
        }
        Exposure::Port { .. } => State::Problem,
        Exposure::Unknown { .. } => State::Warning,
    };
    let found = state.of("plain port", seen.trouble().unwrap_or_default());
    Some(match seen.fix() {
        Some(fix) => found.fix(fix),
        None => found,
    })
}

/// What it answered to a question for the path of `--app-health`, or for `/`.
pub(super) fn answer(
    url: &TargetUrl,
    app_health: Option<&str>,
    asked: &Result<Answered, AskError>,
    listening: &[SocketAddr],
) -> Vec<Finding> {
    let what = format!("GET {} at {url}", app_health.unwrap_or("/"));
    let answered = match asked {
        Ok(answered) => answered,
        Err(error) => {
            let found = State::Problem.of("application", format!("{what}: {error}"));
            return vec![found.fix(remedy(url, error, listening))];
        }
    };
    vec![
        health(&what, app_health.is_some(), answered),
        kept(answered.version, answered.keep_alive),
    ]
}

fn health(what: &str, is_health: bool, answered: &Answered) -> Finding {
    let status = answered.status;
    let at = answered
        .address
        .map(|address| format!(" from {address}"))
        .unwrap_or_default();
    let words = format!("{what}: {status}{at} in {:?}", answered.version);
    let is_well = (200..400).contains(&status.as_u16());
    match (is_well, is_health) {
        (true, _) => State::Ok.of("application", words),
        (false, true) => State::Problem.of("application", words).fix(
            "mend the application, or let --app-health name a path that it answers with 200 to 399",
        ),
        (false, false) if status.is_server_error() || status == StatusCode::BAD_REQUEST => {
            State::Warning
                .of("application", words)
                .fix("let --app-health name a path that it answers with 200 to 399")
        }
        (false, false) => State::Ok.of("application", words),
    }
}

/// What would help where there is no answer.
fn remedy(url: &TargetUrl, error: &AskError, listening: &[SocketAddr]) -> String {
    match error {
        AskError::TimedOut(_) => "look at what the application is busy with; it is given this long, and a probe less".to_owned(),
        AskError::Broken(_) if url.protocol() == Protocol::Http1 => {
            "if it speaks HTTP/2 only, use --target h2c://…; if it speaks TLS, switch that off on the loopback".to_owned()
        }
        AskError::Broken(_) => "if it speaks HTTP/1.1 only, use --target http://…".to_owned(),
        AskError::Path(_) => "give --app-health a path".to_owned(),
        AskError::Dial(_) if listening.is_empty() => {
            "start the application, or let --target name the port on which it listens".to_owned()
        }
        AskError::Dial(_) => format!(
            "start the application, or let --target name the port on which it listens; listening in this pod are: {}",
            listed(listening)
        ),
    }
}

/// How long it keeps a connection that nobody uses. The sidecar copes with all of it, some of it costs.
fn kept(version: Version, keep_alive: KeepAlive) -> Finding {
    match keep_alive {
        KeepAlive::Keeps(_) if version == Version::HTTP_2 => {
            State::Ok.of("keep-alive", "few connections that many requests share (HTTP/2)")
        }
        KeepAlive::Keeps(Some(kept)) if kept < SHORT => State::Note
            .of("keep-alive", format!("it keeps unused connections for {kept:?}: few are used again"))
            .fix("raise the application's keep-alive timeout to 5 s or more"),
        KeepAlive::Keeps(Some(kept)) => State::Ok.of(
            "keep-alive",
            format!("it keeps unused connections for {kept:?}, and they are used for less"),
        ),
        KeepAlive::Keeps(None) => State::Ok.of(
            "keep-alive",
            "it does not say for how long it keeps unused connections; the sidecar learns it",
        ),
        KeepAlive::Closes => State::Note
            .of("keep-alive", format!("it closes the connection after each answer ({version:?}): every request opens one"))
            .fix("switch keep-alive on in the application, if it has it"),
    }
}

const SHORT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> TargetUrl {
        TargetUrl::parse("http://localhost:8080").unwrap()
    }

    fn answered(status: u16, version: Version, keep_alive: KeepAlive) -> Answered {
        Answered {
            status: StatusCode::from_u16(status).unwrap(),
            version,
            address: Some("[::1]:8080".parse().unwrap()),
            keep_alive,
        }
    }

    #[test]
    fn a_plain_port_that_others_reach_is_a_problem() {
        let port = |at: &[&str]| Exposure::Port {
            port: 8080,
            reachable_at: at.iter().map(|at| at.parse().unwrap()).collect(),
        };
        let unknown = Exposure::Unknown {
            port: 8080,
            why: "x".to_owned(),
        };
        for (seen, state) in [
            (port(&[]), Some(State::Ok)),
            (port(&["0.0.0.0:8080"]), Some(State::Problem)),
            (unknown, Some(State::Warning)),
            (Exposure::NoPort, Some(State::Ok)),
            (Exposure::Elsewhere, None),
        ] {
            let found = exposure(&seen);
            assert_eq!(found.as_ref().map(|found| found.state), state, "{seen:?}");
            let is_fixed = found.is_some_and(|found| found.fix.is_some());
            assert_eq!(is_fixed, state > Some(State::Note), "{seen:?}");
        }
    }

    #[test]
    fn an_answer_says_which_loopback_and_which_http() {
        let asked = Ok(answered(200, Version::HTTP_11, KeepAlive::Keeps(None)));
        let found = answer(&url(), None, &asked, &[]);
        assert_eq!(
            found[0].finding,
            "GET / at http://localhost:8080: 200 OK from [::1]:8080 in HTTP/1.1"
        );
    }

    #[test]
    fn a_status_matters_where_it_was_chosen() {
        for (status, is_health, state) in [
            (200, false, State::Ok),
            (302, true, State::Ok),
            (404, false, State::Ok),
            (404, true, State::Problem),
            (500, false, State::Warning),
            (500, true, State::Problem),
        ] {
            let asked = Ok(answered(status, Version::HTTP_11, KeepAlive::Keeps(None)));
            let found = answer(&url(), is_health.then_some("/"), &asked, &[]);
            assert_eq!(found[0].state, state, "{status} {is_health}");
        }
    }

    #[test]
    fn how_long_connections_are_kept_is_never_more_than_a_note() {
        let kept = |seconds| KeepAlive::Keeps(Some(Duration::from_secs(seconds)));
        for (version, keep_alive, state) in [
            (Version::HTTP_11, KeepAlive::Keeps(None), State::Ok),
            (Version::HTTP_11, kept(5), State::Ok),
            (Version::HTTP_11, kept(1), State::Note),
            (Version::HTTP_10, KeepAlive::Closes, State::Note),
            (Version::HTTP_2, KeepAlive::Keeps(None), State::Ok),
        ] {
            let asked = Ok(answered(200, version, keep_alive));
            let found = answer(&url(), None, &asked, &[]);
            assert_eq!(found[1].state, state, "{keep_alive:?}");
        }
    }

    #[test]
    fn where_nobody_answers_others_who_listen_are_named() {
        let asked = Err(AskError::Dial(crate::upstream::DialError::Timeout));
        let found = answer(&url(), None, &asked, &["127.0.0.1:3000".parse().unwrap()]);
        assert_eq!((found.len(), found[0].state), (1, State::Problem));
        let fix = found[0].fix.as_deref().unwrap();
        assert!(fix.contains("127.0.0.1:3000"), "{fix}");
        let asked = Err(AskError::Broken("x".to_owned()));
        let found = answer(&url(), None, &asked, &[]);
        assert!(found[0].fix.as_deref().unwrap().contains("h2c://"));
    }
}
