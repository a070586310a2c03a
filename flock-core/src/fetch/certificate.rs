//! What to do about a server's certificate that is not accepted.

/// Advice for a certificate that was refused for `reason`, the words of the
/// TLS library (rustls); `None` if its authority is not known, for which each
/// service has a setting of its own.
pub(super) fn advice(reason: &str) -> Option<&'static str> {
    // Names first: theirs may hold any of the other words.
    const KNOWN: [(&[&str], &str); 4] = [
        (
            &["not valid for name", "NotValidForName"],
            "use a name that the certificate is for, or give the server one for this name",
        ),
        (
            &["CaUsedAsEndEntity"],
            "the server presents a certificate authority's certificate as its own; make one for \
             the server with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`, or \
             let the authority sign one",
        ),
        (
            &["certificate expired", "certificate: Expired"],
            "the server's certificate has run out: it needs a new one; if not, set this machine's \
             clock",
        ),
        (
            &["not valid yet", "NotValidYet"],
            "the server's certificate is not valid yet: check the clocks of both machines",
        ),
    ];
    let known = KNOWN.iter().find(|(words, _)| words.iter().any(|word| reason.contains(word)));
    known.map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_advice() {
        for (reason, word) in [
            ("certificate not valid for name \"expired.example.org\"; certificate is", "name"),
            ("certificate expired: verification time 2 (UNIX), but", "run out"),
            ("certificate not valid yet: verification time 1 (UNIX), but", "clocks"),
            ("Other(OtherError(CaUsedAsEndEntity))", "basicConstraints=critical,CA:FALSE"),
        ] {
            let advice = advice(&format!("invalid peer certificate: {reason}")).unwrap();
            assert!(advice.contains(word), "{advice}");
            assert!(!advice.contains("name the authority"), "{advice}");
        }
    }
}
