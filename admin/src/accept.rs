//! What a client accepts, by the quality values of RFC 9110, section 12.5.1.

use http::{HeaderMap, header};

/// The `Accept` fields of one request.
#[derive(Debug)]
pub(crate) struct Accept<'a> {
    /// Media ranges without their parameters, and how much each is wanted, from 0 to 1.
    ranges: Vec<(&'a str, f32)>,
}

impl<'a> Accept<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let ranges = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(','))
            .map(range)
            .collect();
        Self { ranges }
    }

    /// Whether `kind` is asked for by its name, and wanted at least as much as `usual`, which is sent otherwise.
    pub(crate) fn prefers(&self, kind: &str, usual: &str) -> bool {
        let wanted = self.quality(kind).unwrap_or_default();
        // The most specific range decides, whatever the others say.
        let family = usual.split('/').next().unwrap_or_default();
        let usual = self
            .quality(usual)
            .or_else(|| self.quality(&format!("{family}/*")))
            .or_else(|| self.quality("*/*"))
            .unwrap_or_default();
        wanted > 0.0 && wanted >= usual
    }

    /// How much exactly this range is wanted; it may stand there more than once, with other parameters.
    fn quality(&self, range: &str) -> Option<f32> {
        self.ranges
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(range))
            .map(|&(_, quality)| quality)
            .reduce(f32::max)
    }
}

/// One element of the list. What has a quality that cannot be read is not wanted.
fn range(element: &str) -> (&str, f32) {
    let mut parts = element.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("q").then_some(value)
    });
    let quality = quality.map_or(1.0, |value| value.parse().unwrap_or_default());
    let is_valid = (0.0..=1.0).contains(&quality);
    (name, if is_valid { quality } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn prefers_openmetrics(fields: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::ACCEPT, HeaderValue::from_str(field).unwrap());
        }
        Accept::of(&headers).prefers("application/openmetrics-text", "text/plain")
    }

    #[test]
    fn what_is_named_and_wanted_as_much_as_the_usual_is_sent() {
        for fields in [
            &["application/openmetrics-text"][..],
            &["Application/OpenMetrics-Text ; version=1.0.0 ; Q=0.5"],
            &["application/openmetrics-text;q=0.5, */*;q=0.5"],
            &["text/plain;q=0.3", "application/openmetrics-text;q=0.4"],
            &["*/*, text/*;q=0.2, application/openmetrics-text;q=0.2"],
            &["text/plain;q=0, application/openmetrics-text;q=0.001, */*"],
            &[
                "application/openmetrics-text;version=0.0.1;q=0.1, application/openmetrics-text;q=0.3, */*;q=0.2",
            ],
            // Prometheus 2.53, and 3.
            &[
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
        ] {
            assert!(prefers_openmetrics(fields), "{fields:?}");
        }
    }

    #[test]
    fn the_usual_is_sent_to_everybody_else() {
        for fields in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &["text/plain"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0, */*;q=0.1"],
            &["application/openmetrics-text;q=high"],
            &["application/openmetrics-text;q=nan"],
            &["application/openmetrics-text;q=7"],
            &["application/openmetrics-text;q=0.5, text/plain"],
            &["application/openmetrics-text;q=0.5, text/*;q=0.6"],
            &["application/openmetrics-text;q=0.5", "*/*"],
            &["application/openmetrics-textual"],
        ] {
            assert!(!prefers_openmetrics(fields), "{fields:?}");
        }
    }
}
