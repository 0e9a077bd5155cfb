//! Who makes a change: the user that the operating system vouches for, the person whom automation acts for, or a client.

use std::fs;

use vmsgate_audit::Label;

/// Who is behind an administrative act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    User(User),
    /// A client that changed its own keys, through a gateway.
    Client {
        name: String,
        gateway: String,
    },
}

/// A user of the operating system.
///
/// The user id is what the kernel vouches for; the name is looked up for readability. `login` is the user who
/// originally logged in, which the kernel keeps across `sudo` and `su`, where it is known. `person` is what `--actor`
/// claims and nobody vouches for; it never takes the place of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub name: Option<String>,
    pub login: Option<u32>,
    pub person: Option<String>,
}

/// "Not set", in `/proc/self/loginuid`.
const NO_LOGIN: u32 = u32::MAX;

impl Actor {
    /// The user who runs this process.
    pub fn current() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
        Self::User(User {
            uid,
            name: user_name(uid),
            login: login.filter(|login| *login != NO_LOGIN && *login != uid),
            person: None,
        })
    }

    /// A client that a gateway has authenticated.
    pub fn client(name: &str, gateway: &str) -> Self {
        Self::Client { name: name.to_owned(), gateway: gateway.to_owned() }
    }

    /// The same user, acting for a person if one is named. A client acts for nobody.
    pub fn on_behalf_of(self, person: Option<&str>) -> Self {
        match self {
            Self::User(user) => Self::User(User { person: person.map(str::to_owned), ..user }),
            client => client,
        }
    }

    /// What records call it.
    pub fn label(&self) -> Label {
        match self {
            Self::User(user) => user.label(),
            Self::Client { name, gateway } => Label::new(&format!("client {name} via {gateway}")),
        }
    }
}

impl User {
    fn label(&self) -> Label {
        let user = describe(self.name.as_deref(), self.uid);
        let login = self.login.map(|login| describe(user_name(login).as_deref(), login));
        let login = login.map(|login| format!(", logged in as {login}")).unwrap_or_default();
        // The claim stands last: nothing after it could be taken for what the system says.
        let person = self.person.as_ref().map(|person| format!(" for {person}")).unwrap_or_default();
        Label::new(&format!("{user}{login}{person}"))
    }
}

fn describe(name: Option<&str>, uid: u32) -> String {
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

fn user_name(uid: u32) -> Option<String> {
    name_in(&fs::read_to_string("/etc/passwd").ok()?, uid)
}

/// Looks a user up in the text of `/etc/passwd`: `name:password:uid:…`.
fn name_in(passwd: &str, uid: u32) -> Option<String> {
    let mut users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse::<u32>().ok()?))
    });
    users.find(|(_, id)| *id == uid).map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_password_file() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nanna:x:1000:1000::/home/anna:/bin/sh\n";

        assert_eq!(name_in(passwd, 1000).as_deref(), Some("anna"));
        assert_eq!(name_in(passwd, 4), None);
    }

    #[test]
    fn a_record_shows_the_user_and_the_login_behind_it() {
        let plain = User { uid: 1000, name: Some("anna".into()), login: None, person: None };
        let nameless = User { uid: 4_000_000, name: None, login: Some(3_999_999), person: None };

        assert_eq!(plain.label().as_str(), "anna (uid 1000)");
        assert_eq!(nameless.label().as_str(), "uid 4000000, logged in as uid 3999999");
    }

    #[test]
    fn a_person_whom_automation_acts_for_stands_behind_the_user_and_never_instead() {
        let deploy = Actor::User(User { uid: 998, name: Some("deploy".into()), login: None, person: None });

        let acting = deploy.clone().on_behalf_of(Some("anna@example.org"));

        assert_eq!(acting.label().as_str(), "deploy (uid 998) for anna@example.org");
        assert_eq!(acting.on_behalf_of(None), deploy);
    }

    #[test]
    fn a_client_s_own_act_names_the_gateway_that_authenticated_it() {
        let anna = Actor::client("anna-laptop", "gw-1").on_behalf_of(Some("somebody"));

        assert_eq!(anna.label().as_str(), "client anna-laptop via gw-1");
    }
}
