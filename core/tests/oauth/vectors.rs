//! The examples of the RFCs.

use std::collections::BTreeSet;

use serde_json::Value;
use symbolon_core::oauth::jwk::PublicKey;

/// RFC 9449, section 4.1.
pub(crate) const DPOP_TOKEN: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZ",
    "OXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIs",
    "ImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmV",
    "yLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4Pt",
    "FLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
);

/// RFC 9449, section 7.1.
pub(crate) const DPOP_RESOURCE: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZ",
    "OXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIs",
    "ImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJ",
    "jZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05",
    "yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmc",
    "w6Fy1dqd-jfxSYoMxhAJpLjA",
);

#[test]
fn keys_and_thumbprints() {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/rfc.json")).unwrap();
    let mut thumbprints = BTreeSet::new();
    for vector in &all {
        let of = vector["of"].as_str().unwrap();
        let Ok(key) = PublicKey::parse(&vector["key"].to_string()) else {
            assert_eq!(vector["taken"], false, "{of}");
            continue;
        };
        let found = key.thumbprint();
        assert_eq!(found.to_string().parse(), Ok(found), "{of}");
        if let Some(expected) = vector["thumbprint"].as_str() {
            assert_eq!(found.to_string(), expected, "{of}");
        }
        assert!(thumbprints.insert(found) || of == "RFC 7515, A.5", "{of}");
    }
    assert_eq!(thumbprints.len(), 4);
}
