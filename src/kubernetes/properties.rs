//! What holds for every manifest, tried on generated ones.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::json;

use super::generated::stream;
use super::inject::{inject, uninject};
use super::manifest::Document;
use super::settings::Given;
use super::stream::Remark;

fn given() -> Given {
    let mut given = Given::default();
    given.set("tls-secret", "app-tls").unwrap();
    given.set("container", "app").unwrap();
    given
}

fn texts(remarks: &[Remark]) -> Vec<&str> {
    remarks.iter().map(|remark| &*remark.text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn twice_is_once_and_what_was_put_in_is_taken_out_byte_for_byte(choices in prop::collection::vec(any::<u8>(), 200..900)) {
        let text = stream(&choices);
        let once = inject(&text, &given()).map_err(|wrong| TestCaseError::fail(format!("{wrong:?}\n{text}")))?;
        let twice = inject(&once.text, &given()).map_err(|wrong| TestCaseError::fail(format!("{wrong:?}\n{}", once.text)))?;
        prop_assert_eq!(&twice.text, &once.text, "given:\n{}", text);
        let out = uninject(&once.text).map_err(|wrong| TestCaseError::fail(format!("{wrong:?}\n{}", once.text)))?;
        prop_assert_eq!(out.text, text);
        let nothing = ["nothing here was injected"];
        prop_assert!(out.remarks.is_empty() || texts(&out.remarks) == nothing, "{:?}", out.remarks);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-{}\\[\\]:,&*a?|>'\"!%# \n\t\r<~]{0,60}") {
        let _ = inject(&text, &given());
        let _ = uninject(&text);
    }

    #[test]
    fn no_record_makes_it_panic(
        at in "(/|a|b|0|\\[x\\]|~1){0,8}",
        was in prop::option::of("[ \na-c{}:\\[]{0,9}"),
        text in "(a|b): ([ab0]|\\[(a|\\{name: x\\})\\]|\\{b: a\\})",
    ) {
        let done = json!([{"at": at, "was": was}]);
        let record = json!({"added": done, "replaced": done, "written": done}).to_string();
        let annotations = json!({"annotations": {super::record::INJECTED: record}});
        let _ = uninject(&format!("kind: Service\nmetadata: {annotations}\n{text}\n"));
    }
}

#[test]
fn what_is_generated_is_yaml_and_takes_many_shapes() {
    let mut choices = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(any::<u8>(), 200..900);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let text = stream(&strategy.new_tree(&mut choices).unwrap().current());
        for part in super::manifest::split(&text) {
            let document = Document::read(text[part].to_owned());
            let document = document.unwrap_or_else(|trouble| panic!("{}:\n{text}", trouble.text));
            seen.insert(document.value["kind"].to_string());
        }
        seen.extend(
            ["*a", "&a", "\r\n", "{ ", "|+"]
                .iter()
                .filter(|word| text.contains(**word))
                .map(ToString::to_string),
        );
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
}
