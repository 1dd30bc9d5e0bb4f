//! Fields whose values are lists (RFC 9110 section 5.6.1). All lines of a field are read as one list, however it is
//! split (section 5.3). This is for lists of tokens: a comma in a quoted string is taken for a separator.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Returns the members of the list that these values make together. Empty members do not count.
pub(crate) fn members<'a>(
    values: impl IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    let parts = values.into_iter().flat_map(|value| value.split(|&byte| byte == b','));
    parts.map(trim).filter(|member| !member.is_empty())
}

/// Returns the members of a list field.
pub(crate) fn of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    members(headers.get_all(name).iter().map(HeaderValue::as_bytes))
}

/// Removes optional white space from both ends (RFC 9110 section 5.6.3): only SP and HTAB.
pub(crate) const fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;
    use proptest::prelude::*;

    use super::*;

    fn fields(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONNECTION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn all_lines_are_one_list() {
        for (values, expected) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&[" , ,\t"], &[]),
            (&["close"], &["close"]),
            (&["a", "close"], &["a", "close"]),
            (&["a ,\tb", "", ",c,"], &["a", "b", "c"]),
        ] {
            let found: Vec<_> = of(&fields(values), &CONNECTION).map(<[u8]>::to_vec).collect();
            assert_eq!(found, expected.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn however_a_list_is_cut(members in prop::collection::vec("[a-z]{1,5}", 0..8), lines in 1_usize..5) {
            let cut: Vec<String> =
                members.chunks(members.len().div_ceil(lines).max(1)).map(|line| line.join(" ,")).collect();
            let headers = fields(&cut.iter().map(String::as_str).collect::<Vec<_>>());
            let found: Vec<_> = of(&headers, &CONNECTION).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, members.iter().map(|member| member.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
