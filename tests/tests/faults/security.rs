//! Connections that the broker or the client refuses: the certificate, the password.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use outrigger_tests::{Job, Kafka, PATIENCE, let_it_last};

use crate::row::{Load, Outcome, Row, Run, SESSION, settle};

pub fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "tls",
            fault: "broker's certificate expired, then of another name, then right",
            quick: false,
            run: tls,
        },
        Row {
            name: "credentials",
            fault: "user's password changed, then changed back",
            quick: false,
            run: credentials,
        },
    ]
}

/// Of every key store here; nothing secret is in them.
const PASSWORD: &str = "opensesame";

/// A certificate that signs itself, in a key store, and as text beside it.
fn certificate(folder: &Path, name: &str, options: &[&str]) {
    let store = folder.join(name);
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command.args(arguments).args(["-alias", "broker", "-storetype", "PKCS12", "-storepass", PASSWORD]);
        let out = command.arg("-keystore").arg(&store).output().expect("keytool, which comes with Java");
        assert!(out.status.success(), "keytool: {}", String::from_utf8_lossy(&out.stdout));
        out.stdout
    };
    keytool(&[&["-genkeypair", "-keyalg", "EC", "-dname", "CN=broker"], options].concat());
    let text = keytool(&["-exportcert", "-rfc"]);
    std::fs::write(store.with_extension("pem"), text).expect("the certificate as text");
}

fn tls(run: &Run<'_>) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder for certificates");
    let here = "san=ip:127.0.0.1";
    certificate(folder.path(), "right.p12", &["-validity", "2", "-ext", here]);
    certificate(folder.path(), "expired.p12", &["-startdate", "-3d", "-validity", "1", "-ext", here]);
    certificate(folder.path(), "elsewhere.p12", &["-validity", "2", "-ext", "san=dns:elsewhere.example"]);
    // All three are trusted: what is wrong is the date, or the name.
    let ca = folder.path().join("trusted.pem");
    let text = ["right", "expired", "elsewhere"]
        .map(|name| std::fs::read_to_string(folder.path().join(name).with_extension("pem")).expect("a certificate"));
    std::fs::write(&ca, text.concat()).expect("the trusted certificates");
    let with = |name: &str| {
        let store = folder.path().join(name).display().to_string();
        vec![
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,PROXIED:SSL,CONTROLLER:PLAINTEXT".to_owned()),
            ("listener.name.proxied.ssl.keystore.type", "PKCS12".to_owned()),
            ("listener.name.proxied.ssl.keystore.location", store),
            ("listener.name.proxied.ssl.keystore.password", PASSWORD.to_owned()),
        ]
    };
    let properties = format!(r#"{SESSION}, security.protocol: ssl, ssl.ca.location: "{}""#, ca.display());
    let wrong = [with("expired.p12"), with("elsewhere.p12")];
    refused(run, "tls", &properties, with("right.p12"), &wrong, "certificate verify failed")
}

fn credentials(run: &Run<'_>) -> Outcome {
    let with = |password: &str| {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        vec![
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            ),
            ("listener.name.proxied.sasl.enabled.mechanisms", "PLAIN".to_owned()),
            (
                "listener.name.proxied.plain.sasl.jaas.config",
                format!(r#"{module} required user_outrigger="{password}";"#),
            ),
        ]
    };
    let properties = format!(
        "{SESSION}, security.protocol: sasl_plaintext, sasl.mechanism: PLAIN, sasl.username: outrigger, sasl.password: {PASSWORD}"
    );
    refused(run, "credentials", &properties, with(PASSWORD), &[with("another")], "Authentication failed")
}

/// A broker comes back with settings under which no connection is made, and each time
/// once more with the right ones.
fn refused(
    run: &Run<'_>,
    name: &str,
    properties: &str,
    right: Vec<(&str, String)>,
    wrong: &[Vec<(&str, String)>],
    said: &str,
) -> Outcome {
    let kafka = Kafka::start_behind_proxy(&borrowed(&right));
    let job = Job::new_on(&kafka, name, 3).properties(properties);
    let (mut sidecar, mut load, mut happened) = (job.proxied_sidecar().start(), Load::default(), 0);
    for (n, wrong) in wrong.iter().enumerate() {
        load.produce(&kafka, &job, run.count(500, 3_000));
        let handled = sidecar.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")]));
        sidecar.wait_handled(handled as u32 + 100);
        let before = sidecar.said(said);
        restart(&kafka, wrong);
        sidecar.wait_for("its log says why", PATIENCE, |sidecar| match sidecar.said(said) - before {
            0 => Err("nothing".to_owned()),
            _ => Ok(()),
        });
        sidecar.wait_not_ready("");
        let committed = kafka.committed(&job.group, &job.topic);
        let_it_last(Duration::from_secs(10));
        assert_eq!(kafka.committed(&job.group, &job.topic), committed, "something got through, at {n}");
        happened += usize::from(job.uncommitted() > 0);
        restart(&kafka, &right);
        sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    }
    let (audit, _) = settle(&job, sidecar);
    let proof = format!("{happened} times not ready, `{said}` in the log, and nothing committed for 10 s");
    Outcome { cycles: wrong.len() as u32, happened, proof, audit }
}

fn restart(kafka: &Kafka, settings: &[(&str, String)]) {
    kafka.stop();
    kafka.configure(&borrowed(settings));
    kafka.start_again();
}

fn borrowed<'a>(settings: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, &**value)).collect()
}
