//! The admin API: where it listens, and the token that every request must carry.

use super::Check;
use crate::manifest::model::{Admin, Secret};
use crate::manifest::raw;
use crate::manifest::read::Field;

/// A token that can be guessed is none.
const SHORTEST: usize = 16;

impl Check<'_> {
    /// A token is asked for on loopback too: in a Pod every container, and on a
    /// developer's machine every page in a browser, reaches it.
    pub(super) fn admin(self, field: &Field<raw::Admin>) -> Option<Admin> {
        let admin = field.given()?;
        let listen = self.require(&admin.value.listen, "listen", admin.key, "write `listen: 127.0.0.1:9465`");
        let help = "write `token: ${file:/run/secrets/admin-token}` or `token: ${ADMIN_TOKEN}`";
        let token = self.require(&admin.value.token, "token", admin.key, help);
        let listen = listen.and_then(|listen| self.address(listen, "write it as 127.0.0.1:9465"));
        let token = token?;
        let text = token.value.trim();
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                format!("the token is shorter than {SHORTEST} characters, or not of letters, digits and signs");
            self.problems.error(token.at, message, "make one with `openssl rand -hex 32`");
        }
        Some(Admin { listen: listen?, token: Secret::new(text) })
    }
}
