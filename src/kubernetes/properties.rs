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

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: app\n    ports: [{containerPort: 8080}]\n";
const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  selector: {app: x}\n  ports:\n  - port: 80\n    targetPort: 8080\n";

fn injected(text: &str) -> String {
    inject(text, &given())
        .unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"))
        .text
}

fn there_and_back(text: &str) {
    let once = injected(text);
    assert_eq!(injected(&once), once, "given:\n{text}");
    let out = uninject(&once).unwrap();
    assert_eq!(
        (out.text.as_str(), texts(&out.remarks)),
        (text, Vec::new()),
        "{once}"
    );
}

#[test]
fn a_port_whose_name_is_an_alias_is_led_back() {
    let pod = POD.replacen("name: x}", "name: x, labels: {app: &x x}}", 1);
    let service = SERVICE.trim_start_matches("---\n").replacen(
        "  - port: 80\n    targetPort: 8080\n",
        "  - name: *x\n    port: 80\n    targetPort: 8080\n  - name: y\n    port: 81\n",
        1,
    );
    let items: String = [pod.as_str(), &service]
        .map(|item| format!("- {}", item.trim_end().replace('\n', "\n  ") + "\n"))
        .concat();
    there_and_back(&format!("apiVersion: v1\nkind: List\nitems:\n{items}"));
}

#[test]
fn odd_ways_of_writing_are_taken() {
    for rest in [
        "    lifecycle:\n      preStop:\n        exec:\n          command:\n          - sh\n          - -c\n          - |\n            sleep 5\n",
        "    lifecycle: {preStop: {exec: {command: [sh, -c, >-\n      sleep 5\n      ]}}}\n",
        "    command:\n    - |\n      a\n        \n",
        "    env:\n    - name: A\n      value: |-\n        a\n          \n",
        "  volumes:\n  - # mine | or not\n    name: v\n    emptyDir: {}\n",
        "  volumes:\n  -\n    # mine\n    name: v\n",
        "  initContainers: # none\n",
    ] {
        if rest.contains(">-\n") {
            // A block scalar cannot be in flow style: that is told, and nothing else.
            assert!(inject(&format!("{POD}{rest}"), &given()).is_err());
        } else {
            there_and_back(&format!("{POD}{rest}"));
        }
    }
}

#[test]
fn what_objects_of_a_list_share_comes_back_shared() {
    let pod = "  kind: Pod\n  metadata: {name: a}\n";
    let spec = "containers:\n    - name: app\n      ports: [{containerPort: 8080}]\n      livenessProbe: {httpGet: {path: /h, port: 8080}}\n";
    for (first, second) in [
        (format!("  spec: &s\n    {spec}"), "  spec: *s\n".to_owned()),
        (
            format!(
                "  spec:\n    {}",
                spec.replace("- name", "- &c\n      name")
            ),
            "  spec:\n    containers:\n    - <<: *c\n      image: other\n".to_owned(),
        ),
    ] {
        there_and_back(&format!(
            "kind: List\nitems:\n- apiVersion: v1\n{pod}{first}- apiVersion: v1\n{pod}{second}"
        ));
    }
}

#[test]
fn what_was_edited_since_is_kept() {
    let once = injected(POD);
    for (from, to) in [
        (
            "terminationGracePeriodSeconds: 56",
            "terminationGracePeriodSeconds: 120",
        ),
        ("seconds: 26", "seconds: 60"),
    ] {
        let out = uninject(&once.replace(from, to)).unwrap();
        assert!(out.text.contains(to), "{}", out.text);
        assert!(texts(&out.remarks)[0].contains("was changed since"));
    }
    let shared =
        format!("x: &p {{httpGet: {{path: /h, port: 8080}}}}\n{POD}    livenessProbe: *p\n");
    let plain = injected(&shared).replace("x: &p", "x:");
    let out = uninject(&plain).unwrap().text;
    assert!(
        out.ends_with("livenessProbe:\n      httpGet:\n        path: /h\n        port: 8080\n"),
        "{out}"
    );
    let renamed = injected(&shared).replace("- name: app\n", "- name: web\n");
    assert_eq!(
        uninject(&renamed).unwrap().text,
        shared.replace("name: app", "name: web")
    );
}

#[test]
fn a_service_is_not_led_back_in_silence() {
    let labelled = POD.replace("{name: x}", "{name: x, labels: {app: x}}");
    let once = injected(&format!("{labelled}{SERVICE}"));
    assert!(once.contains("targetPort: 8443") && once.contains("PORTCULLIS_REDIRECT_PORT"));
    let (pod, service) = once.split_once("---\n").unwrap();
    let without = |text: &str| {
        let lines = text.split_inclusive('\n');
        lines
            .filter(|line| !line.contains(super::record::INJECTED))
            .collect::<String>()
    };
    let pod_has_lost_it = pod.replace("portcullis.dev/injected", "other");
    let wrong = inject(&format!("{pod_has_lost_it}---\n{service}"), &given()).unwrap_err();
    assert!(
        wrong[0]
            .text
            .contains("the annotation that says so is gone"),
        "{wrong:?}"
    );
    let again = injected(&format!(
        "{pod}---\n{}",
        without(service).replace("  annotations:\n", "")
    ));
    assert!(again.contains("PORTCULLIS_REDIRECT_PORT"), "{again}");
    let opted_out = format!("{labelled}---\n{service}").replace(
        "labels: {app: x}",
        "labels: {app: x}, annotations: {portcullis.dev/inject: disabled}",
    );
    let out = inject(&opted_out, &given()).unwrap();
    assert!(out.text.contains("targetPort: 8080"));
    assert!(
        texts(&out.remarks)
            .iter()
            .any(|text| text.contains("leads to the app again")),
        "{:?}",
        out.remarks
    );
    let more = once.replace(
        "  - port: 80\n",
        "  - port: 81\n    name: y\n    targetPort: 1\n  - port: 80\n",
    );
    assert!(
        uninject(&more)
            .unwrap()
            .text
            .contains("- port: 80\n    targetPort: 8080\n")
    );
}

#[test]
fn annotations_that_are_about_pods_are_told_where_they_belong() {
    let text = format!(
        "kind: Deployment\nmetadata:\n  annotations:\n    portcullis.dev/client-auth: required\nspec:\n  template:\n    {}",
        POD.replace("apiVersion: v1\nkind: Pod\n", "")
            .replace('\n', "\n    ")
            .trim_end()
    );
    let wrong = inject(&text, &given()).unwrap_err();
    assert_eq!((wrong[0].line, wrong[0].column), (4, 5));
    assert!(
        wrong[0]
            .text
            .ends_with("spec.template.metadata.annotations[portcullis.dev/client-auth]"),
        "{wrong:?}"
    );
}
