//! Who sent a request: the other end of the socket, or, if that is a proxy we trust, whom the proxy names.
//!
//! A proxy *appends* to the header, so it is read from its end: the first address there that is not a trusted proxy's is
//! the caller's. What stands before it was written by the caller, and is never looked at, not even to take it apart.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{HeaderMap, HeaderName, header::FORWARDED};

use crate::config::Forwarded;

/// Proxies that a request may come through.
const HOPS_MAX: usize = 16;

/// Who is at the other end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address of the caller.
    pub address: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

impl Peer {
    /// Who speaks over the local socket.
    pub const LOCAL: Self =
        Self { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), secure: true };
}

/// An address, or a network in CIDR notation (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: u128,
    bits: u8,
    v4: bool,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// It is neither an address nor a network.
    #[error("it is neither an IP address nor a network such as 10.0.0.0/8")]
    Form,
    /// The address lies within the network.
    #[error("the address has bits set beyond the length of the prefix")]
    HostBits,
}

fn number(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl Network {
    /// Whether the address is in the network. `::ffff:10.0.0.1` is `10.0.0.1`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, v4) = number(address);
        v4 == self.v4 && address & mask(self.bits) == self.first
    }

    /// Whether every address of its kind is in the network.
    pub const fn is_everything(&self) -> bool {
        self.bits == 0
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Form)?;
        let (first, v4) = number(address);
        if v4 != address.is_ipv4() {
            return Err(InvalidNetwork::Form);
        }
        let bits_max = if v4 { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) => bits.parse().map_err(|_| InvalidNetwork::Form)?,
        };
        if bits > bits_max {
            return Err(InvalidNetwork::Form);
        }
        if first & !mask(bits) != 0 {
            return Err(InvalidNetwork::HostBits);
        }
        Ok(Self { first, bits, v4 })
    }
}

/// The proxies that are believed.
#[derive(Debug, Clone)]
pub struct Proxies {
    trusted: Vec<Network>,
    header: Forwarded,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Proxies {
    /// Believes these proxies, and only in this header: they hand on the other as they got it.
    pub const fn new(trusted: Vec<Network>, header: Forwarded) -> Self {
        Self { trusted, header }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Who sent a request that came from this address, over TLS or not.
    ///
    /// If a trusted proxy sent it and what that wrote cannot be read, or is missing, this is the proxy. If it does not
    /// say how the caller came, this is not secure.
    pub fn peer(&self, address: IpAddr, tls: bool, headers: &HeaderMap) -> Peer {
        let direct = Peer { address: address.to_canonical(), secure: tls };
        if !self.trusts(address) {
            return direct;
        }
        let caller = match self.header {
            Forwarded::XForwarded => self.caller(x_forwarded(headers)),
            Forwarded::Forwarded => self
                .caller(from_end(headers, &FORWARDED).map(|element| element.and_then(forwarded))),
        };
        caller.unwrap_or(direct)
    }

    /// The first that is no proxy of ours; if all are, the farthest. Nobody if there are none, too many, or one before
    /// the caller cannot be read.
    fn caller(&self, hops: impl Iterator<Item = Option<Peer>>) -> Option<Peer> {
        let mut farthest = None;
        for (at, hop) in hops.enumerate() {
            let hop = hop.filter(|_| at < HOPS_MAX)?;
            if !self.trusts(hop.address) {
                return Some(hop);
            }
            farthest = Some(hop);
        }
        farthest
    }
}

/// The elements of a list header, the last first; `None` for one that is no text.
///
/// Commas in quotes separate, too: no address has one, and a quote that the caller left open must not swallow what the
/// proxy wrote.
fn from_end<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<&'h str>> + use<'h> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let elements = lines.into_iter().rev().flat_map(|line| line.as_bytes().rsplit(|&b| b == b','));
    elements.map(|element| std::str::from_utf8(element).ok().map(str::trim))
}

fn x_forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<Peer>> {
    // Some proxies append the scheme as they do the address; most write one, whatever came before.
    let mut schemes = from_end(headers, &X_FORWARDED_PROTO);
    let mut secure = false;
    from_end(headers, &X_FORWARDED_FOR).map(move |element| {
        if let Some(scheme) = schemes.next() {
            secure = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        }
        Some(Peer { address: node(element?)?, secure })
    })
}

/// One element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn forwarded(element: &str) -> Option<Peer> {
    let (mut address, mut secure) = (None, None);
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
        if value.contains(['"', '\\']) {
            return None;
        }
        // Twice the same: somebody smuggled one of them in.
        if name.eq_ignore_ascii_case("for") && address.replace(node(value)?).is_some()
            || name.eq_ignore_ascii_case("proto")
                && secure.replace(value.eq_ignore_ascii_case("https")).is_some()
        {
            return None;
        }
    }
    Some(Peer { address: address?, secure: secure.unwrap_or(false) })
}

/// An address, with or without a port. `unknown` and names such as `_hidden` (RFC 7239 §6) are none.
fn node(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    plain.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: IpAddr = match self.v4 {
            true => std::net::Ipv4Addr::from_bits((self.first >> 96) as u32).into(),
            false => std::net::Ipv6Addr::from_bits(self.first).into(),
        };
        write!(f, "{address}/{}", self.bits)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::Forwarded::{self, *};

    const XFF: &str = "x-forwarded-for";
    const XFP: &str = "x-forwarded-proto";
    const FWD: &str = "forwarded";
    const PROXY: &str = "10.0.0.1";

    /// An address, and whether it came over TLS.
    type Is<'a> = (&'a str, bool);

    #[track_caller]
    fn check(header: Forwarded, from: &str, given: &[(&str, &str)], is: Is<'_>) {
        let trusted = ["10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48"];
        let trusted = trusted.map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let peer = Proxies::new(trusted, header).peer(from.parse().unwrap(), false, &headers);
        assert_eq!((peer.address.to_string().as_str(), peer.secure), is, "{from} {given:?}");
    }

    #[test]
    fn strangers_are_not_believed() {
        for header in [XForwarded, Forwarded] {
            for from in ["192.0.2.1", "11.0.0.1", "2001:db8:fffe::1"] {
                check(header, from, &[], (from, false));
                check(header, from, &[(XFF, PROXY), (XFP, "https")], (from, false));
                check(header, from, &[(FWD, "for=10.0.0.1;proto=https")], (from, false));
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        assert!(
            Proxies::new(vec![], XForwarded).peer([192, 0, 2, 1].into(), true, &headers).secure
        );
    }

    #[test]
    fn x_forwarded_is_read_from_its_end() {
        let many = |hops: usize| format!("192.0.2.1{}", ", 10.0.0.9".repeat(hops));
        let flood = format!("{}192.0.2.1", "192.0.2.66, ".repeat(2000));
        let cases: &[(&[(&str, &str)], Is<'_>)] = &[
            // The proxy's word, and nothing that the caller wrote before it.
            (&[(XFF, "192.0.2.1"), (XFP, "https")], ("192.0.2.1", true)),
            (&[(XFF, "192.0.2.66, 192.0.2.1"), (XFP, "HTTPS")], ("192.0.2.1", true)),
            (&[(XFF, "192.0.2.66"), (XFF, "192.0.2.1")], ("192.0.2.1", false)),
            (&[(XFF, "192.0.2.66, 192.0.2.1, 10.1.1.1")], ("192.0.2.1", false)),
            (&[(XFF, "10.0.0.66, 192.0.2.1, 10.1.1.1")], ("192.0.2.1", false)),
            (&[(XFF, "\", nonsense, 192.0.2.1")], ("192.0.2.1", false)),
            (&[(XFF, "192.0.2.66\u{e9}"), (XFF, "192.0.2.1")], ("192.0.2.1", false)),
            (&[(XFF, "192.0.2.66\u{e9}, 192.0.2.1")], ("192.0.2.1", false)),
            (&[(XFF, &flood)], ("192.0.2.1", false)),
            // Schemes are counted from the same end; one stands for all.
            (&[(XFF, "192.0.2.1, 10.1.1.1"), (XFP, "https")], ("192.0.2.1", true)),
            (&[(XFF, "192.0.2.1, 10.1.1.1"), (XFP, "https, http")], ("192.0.2.1", true)),
            (&[(XFF, "192.0.2.66, 192.0.2.1"), (XFP, "https, http")], ("192.0.2.1", false)),
            (&[(XFF, "192.0.2.1"), (XFP, "https"), (XFP, "http")], ("192.0.2.1", false)),
            (&[(XFF, "192.0.2.1"), (XFP, "https\u{e9}")], ("192.0.2.1", false)),
            // The other header may be the caller's own.
            (&[(FWD, "for=192.0.2.66;proto=https")], (PROXY, false)),
            (&[(FWD, "for=192.0.2.66"), (XFF, "192.0.2.1")], ("192.0.2.1", false)),
            // What cannot be read.
            (&[(XFP, "https")], (PROXY, false)),
            (&[(XFF, "")], (PROXY, false)),
            (&[(XFF, "192.0.2.66, unknown")], (PROXY, false)),
            (&[(XFF, "192.0.2.66, nonsense, 10.1.1.1"), (XFP, "https")], (PROXY, false)),
            (&[(XFF, "192.0.2.66\u{e9}")], (PROXY, false)),
            (&[(XFF, &many(HOPS_MAX - 1))], ("192.0.2.1", false)),
            (&[(XFF, &many(HOPS_MAX))], (PROXY, false)),
            // All are proxies: the farthest of them asked.
            (&[(XFF, "10.0.0.7, 10.0.0.8")], ("10.0.0.7", false)),
            // Ports, IPv6, IPv4 in IPv6.
            (&[(XFF, "192.0.2.1:4711")], ("192.0.2.1", false)),
            (&[(XFF, "[2001:db8::1]:4711")], ("2001:db8::1", false)),
            (&[(XFF, "[2001:db8::1]")], ("2001:db8::1", false)),
            (&[(XFF, "2001:db8::1")], ("2001:db8::1", false)),
            (&[(XFF, "192.0.2.1, ::ffff:10.0.0.9")], ("192.0.2.1", false)),
        ];
        for (given, is) in cases {
            check(XForwarded, PROXY, given, *is);
        }
        check(XForwarded, "::ffff:10.0.0.1", &[(XFF, "192.0.2.1")], ("192.0.2.1", false));
        check(XForwarded, "2001:db8:ffff::1", &[(XFF, "192.0.2.1")], ("192.0.2.1", false));
    }

    #[test]
    fn forwarded_is_read_from_its_end() {
        let cases: &[(&str, Is<'_>)] = &[
            ("for=192.0.2.1;proto=https;by=10.0.0.1", ("192.0.2.1", true)),
            ("FOR=\"[2001:db8::1]:4711\"; Proto=HTTPS", ("2001:db8::1", true)),
            ("for=192.0.2.66;proto=https, for=192.0.2.1", ("192.0.2.1", false)),
            ("for=192.0.2.1;proto=https, for=10.0.0.9;proto=http", ("192.0.2.1", true)),
            // A quote that the caller left open changes nothing of what the proxy appended.
            ("for=\"192.0.2.66, for=192.0.2.1", ("192.0.2.1", false)),
            ("for=\"192.0.2.66, for=192.0.2.1;host=\"a\"", ("192.0.2.1", false)),
            // What a caller may get into the proxy's own element with the name of a host.
            ("for=192.0.2.1;host=\"x, for=192.0.2.66\"", (PROXY, false)),
            ("for=192.0.2.1;host=\"x, for=192.0.2.66;y=\"", (PROXY, false)),
            ("for=192.0.2.1;host=\"x, for=192.0.2.66;y=\\\"\"", (PROXY, false)),
            ("for=192.0.2.66;for=192.0.2.67", (PROXY, false)),
            ("for=192.0.2.1;proto=http;proto=https", (PROXY, false)),
            ("for=192.0.2.1;;", (PROXY, false)),
            ("for=_hidden", (PROXY, false)),
            ("for=unknown;proto=https", (PROXY, false)),
            ("host=a;proto=https", (PROXY, false)),
            ("", (PROXY, false)),
        ];
        for (value, is) in cases {
            check(Forwarded, PROXY, &[(FWD, value)], *is);
        }
        check(Forwarded, PROXY, &[(XFF, "192.0.2.66"), (XFP, "https")], (PROXY, false));
    }

    #[test]
    fn networks_are_written_exactly() {
        use InvalidNetwork::{Form, HostBits};
        for (text, shown) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.1.2.3", Ok("10.1.2.3/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("10.0.0.1/8", Err(HostBits)),
            ("10.0.0.0/33", Err(Form)),
            ("10.0.0.0/-1", Err(Form)),
            ("10.0.0.0/", Err(Form)),
            ("::ffff:10.0.0.0/104", Err(Form)),
            ("proxy.example", Err(Form)),
            ("", Err(Form)),
        ] {
            let network = text.parse::<Network>().map(|network| network.to_string());
            assert_eq!(network, shown.map(str::to_owned), "{text}");
        }
    }
}
