//! Owners of files, by name or number.

use nix::unistd::{Group, User};

/// Looks up `user` or `user:group`. Returns the numbers.
pub(crate) fn look_up(owner: &str) -> Result<(u32, Option<u32>), String> {
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let user = number(user, "user", |name| {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })?;
    let group = group
        .map(|group| {
            number(group, "group", |name| {
                Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
            })
        })
        .transpose()?;
    Ok((user, group))
}

fn number(
    text: &str,
    kind: &str,
    look_up: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match look_up(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!(
            "owner: there is no {kind} {text:?}; correct [outputs] owner in fleet.toml"
        )),
        Err(error) => Err(format!(
            "owner: the {kind} {text:?} can't be looked up: {error}"
        )),
    }
}
