//! What the tools that come with Kafka do: users and their permissions, changed while
//! all runs, and a look at what a broker knows of producers.

use crate::install::{Install, run};
use crate::kafka::Kafka;

impl Kafka {
    /// Adds permissions; `what` are arguments of `kafka-acls.sh` such as
    /// `--allow-principal User:a --operation Read --topic t`. They count when this returns,
    /// or a moment later.
    pub fn permit(&self, what: &[&str]) {
        self.tool("org.apache.kafka.tools.AclCommand", &["--add", "--force"], what);
    }

    /// Takes back what [`Kafka::permit`] was told with the same arguments.
    pub fn permit_no_more(&self, what: &[&str]) {
        self.tool("org.apache.kafka.tools.AclCommand", &["--remove", "--force"], what);
    }

    /// Creates a user of SCRAM-SHA-256, or gives one a new password.
    pub fn create_user(&self, name: &str, password: &str) {
        let credentials = format!("SCRAM-SHA-256=[iterations=4096,password={password}]");
        self.users(name, &["--add-config", &credentials]);
    }

    /// Deletes a user. Connections that have logged in stay.
    pub fn delete_user(&self, name: &str) {
        self.users(name, &["--delete-config", "SCRAM-SHA-256"]);
    }

    fn users(&self, name: &str, change: &[&str]) {
        self.tool("kafka.admin.ConfigCommand", &["--alter", "--entity-type", "users", "--entity-name", name], change);
    }

    /// How many producers the leader of a partition knows the sequence numbers of.
    pub fn known_producers(&self, topic: &str, partition: i32) -> usize {
        let mut command = Install::get().java("org.apache.kafka.tools.TransactionsCommand", &[]);
        command.args(["--bootstrap-server", self.address(), "describe-producers", "--topic", topic]);
        let output = command.args(["--partition", &partition.to_string()]).output().expect("the producers' tool");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("ProducerId"), "no producers are described: {text}");
        // One line each, below that of the columns' names.
        text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).count()
    }

    fn tool(&self, class: &str, arguments: &[&str], more: &[&str]) {
        let mut command = Install::get().java(class, &[]);
        command.args(["--bootstrap-server", self.address()]).args(arguments).args(more);
        run(command, "java", "openjdk-17-jre-headless");
    }
}
