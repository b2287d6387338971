//! Ids that are odd, but safe in a path.

use uuid::Uuid;

const PREFIX: &str = "cert:";
const PADDING: &str = "+=@&'()*,;!$~ é%\"<>#?[]|^";

/// An id of 40 to 255 characters that stands for this one.
pub(super) fn odd_id(id: Uuid) -> String {
    let mut odd = format!("{PREFIX}{}", id.simple());
    let begun = odd.chars().count();
    let length = 40 + (id.as_u128() % 216) as usize;
    odd.extend(PADDING.chars().cycle().take(length - begun));
    odd
}

/// The id that an odd one stands for.
pub(crate) fn parse_odd_id(text: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(PREFIX)?.get(..32)?;
    let id = Uuid::try_parse(digits).ok()?;
    (odd_id(id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_id_stands_for_its_own() {
        let lengths = [0, 175, 215].map(|number| {
            let id = Uuid::from_u128(number);
            let odd = odd_id(id);
            assert_eq!(parse_odd_id(&odd), Some(id));
            assert_eq!(parse_odd_id(&format!("{odd}x")), None);
            assert_eq!(parse_odd_id(&odd[..odd.len() - 1]), None);
            odd.chars().count()
        });
        assert_eq!(lengths, [40, 215, 255]);
        assert_eq!(parse_odd_id("cert:é"), None);
    }
}
