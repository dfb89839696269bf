//! What an option is, and the names that the sidecar pattern's original manifest knows it by.

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// The flag without its dashes; also the key in the file.
    pub name: &'static str,
    /// What a value looks like in the help; `None` for a switch.
    pub value: Option<&'static str>,
    /// What holds when nobody says anything.
    pub default: Option<&'static str>,
    /// Whether it may be given several times.
    pub many: bool,
    /// Whether several then stand between commas in the environment.
    pub commas: bool,
    /// The value of the bare flag, where that is allowed.
    pub bare: Option<&'static str>,
    /// The heading in the help.
    pub heading: &'static str,
    /// One or two sentences.
    pub help: &'static str,
}

impl Opt {
    /// The environment twin.
    pub fn env(&self) -> String {
        format!(
            "PORTCULLIS_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}

/// An option with one value.
pub(super) const fn opt(
    heading: &'static str,
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        value: Some(value),
        default,
        many: false,
        commas: false,
        bare: None,
        heading,
        help,
    }
}

/// An option that may be given several times.
pub(super) const fn list(
    heading: &'static str,
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Opt {
    Opt {
        many: true,
        commas: true,
        ..opt(heading, name, value, default, help)
    }
}

/// An option that is on or off.
pub(super) const fn switch(heading: &'static str, name: &'static str, help: &'static str) -> Opt {
    Opt {
        value: None,
        ..opt(heading, name, "", Some("false"), help)
    }
}

/// The names of the sidecar pattern's original manifest, and what they set.
pub(super) static LEGACY: &[(&str, &str)] = &[
    ("TARGET", "target"),
    ("PORT", "listen"),
    ("SRV_NAME", "service-name"),
];

/// Variables that are the client commands' own: no option, and no misspelt one either.
pub(super) static CLIENTS: &[&str] = &[
    "PORTCULLIS_ADMIN_CA",
    "PORTCULLIS_ADMIN_SERVER_NAME",
    "PORTCULLIS_ADMIN_CLIENT_CERT",
    "PORTCULLIS_ADMIN_CLIENT_KEY",
    // The sidecar's own, where it knows it.
    "PORTCULLIS_ADMIN_TOKEN_FILE",
];
