//! Who sent a request: the other end of the socket, or, if that is a proxy we trust, whom the proxy names.
//!
//! Proxies *append* to the header, so it is read from its end: the first address that is not a trusted proxy's is the
//! caller. What stands before it came from the caller, who may write there what he likes.

use std::{fmt, net::IpAddr, str::FromStr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::Forwarded;

/// Addresses that are looked at, from the end.
const HOPS_MAX: usize = 32;
/// Bytes of the header that are looked at, from the end.
const BYTES_MAX: usize = 4096;

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
    pub fn peer(&self, address: IpAddr, tls: bool, headers: &HeaderMap) -> Peer {
        let direct = Peer { address: address.to_canonical(), secure: tls };
        if !self.trusts(address) {
            return direct;
        }
        match self.header {
            Forwarded::XForwarded => self.x_forwarded(direct, headers),
            Forwarded::Forwarded => self.forwarded(direct, headers),
        }
    }

    fn x_forwarded(&self, direct: Peer, headers: &HeaderMap) -> Peer {
        let hops = from_end(headers, &X_FORWARDED_FOR);
        let schemes = from_end(headers, &X_FORWARDED_PROTO);
        // Most proxies write one scheme however many addresses there are: that of the first connection.
        let scheme = |hop: usize| if schemes.len() == hops.len() { hop } else { 0 };
        let hops = hops.iter().enumerate().map(|(at, hop)| Hop {
            address: host(hop),
            secure: schemes.get(scheme(at)).map(|scheme| scheme.eq_ignore_ascii_case("https")),
        });
        self.caller(direct, hops)
    }

    fn forwarded(&self, direct: Peer, headers: &HeaderMap) -> Peer {
        let hops = from_end(headers, &axum::http::header::FORWARDED);
        self.caller(direct, hops.iter().map(|element| forwarded_hop(element)))
    }

    /// The first hop that is no proxy of ours, or the last one that can be read.
    fn caller(&self, direct: Peer, hops: impl Iterator<Item = Hop>) -> Peer {
        let mut peer = direct;
        for hop in hops {
            let Some(address) = hop.address else { return peer };
            peer = Peer { address, secure: hop.secure.unwrap_or(peer.secure) };
            if !self.trusts(address) {
                return peer;
            }
        }
        peer
    }
}

/// One step of a request on its way here.
#[derive(Debug, Clone, Copy, Default)]
struct Hop {
    address: Option<IpAddr>,
    secure: Option<bool>,
}

/// The elements of a list header, the last first, with the quotes of RFC 9110 in one piece.
fn from_end(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let (mut elements, mut bytes) = (Vec::new(), 0);
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    for line in lines.into_iter().rev() {
        bytes += line.len();
        let Some(line) = line.to_str().ok().filter(|_| bytes <= BYTES_MAX) else {
            // What cannot be read ends the list: nothing beyond it is believed.
            break;
        };
        elements
            .extend(split(line, ',').into_iter().rev().map(|element| element.trim().to_owned()));
    }
    elements.truncate(HOPS_MAX);
    elements
}

/// Splits outside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, sign) in text.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if sign == separator && !quoted => {
                parts.push(&text[from..at]);
                from = at + sign.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// One element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_hop(element: &str) -> Hop {
    let mut hop = Hop::default();
    let mut names = Vec::new();
    for pair in split(element, ';') {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        let name = name.to_ascii_lowercase();
        if names.contains(&name) {
            // Twice the same: somebody smuggled one of them in.
            return Hop::default();
        }
        let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let value = unquoted.unwrap_or(value);
        match name.as_str() {
            "for" => hop.address = host(value),
            "proto" => hop.secure = Some(value.eq_ignore_ascii_case("https")),
            _ => {}
        }
        names.push(name);
    }
    hop
}

/// An address, with or without a port. Names such as `unknown` and `_hidden` are none.
fn host(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
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

    fn proxies(header: Forwarded) -> Proxies {
        let trusted = ["10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48"];
        Proxies::new(trusted.map(|network| network.parse().unwrap()).to_vec(), header)
    }

    #[test]
    fn the_caller_is_who_a_trusted_proxy_saw() {
        const XFF: &str = "x-forwarded-for";
        const XFP: &str = "x-forwarded-proto";
        const FWD: &str = "forwarded";
        let x = Forwarded::XForwarded;
        let f = Forwarded::Forwarded;
        let proxy = "10.0.0.1";
        let many = format!("192.0.2.66, {}", ["10.0.0.9"; 40].join(", "));
        let long = format!("192.0.2.66,{}", " ".repeat(BYTES_MAX));
        type Case<'a> = (Forwarded, &'a str, &'a [(&'a str, &'a str)], &'a str, bool);
        let cases: &[Case<'_>] = &[
            // Nobody is believed who is no proxy.
            (x, "192.0.2.1", &[], "192.0.2.1", false),
            (x, "192.0.2.1", &[(XFF, "10.0.0.1"), (XFP, "https")], "192.0.2.1", false),
            (x, "192.0.2.1", &[(FWD, "for=10.0.0.1;proto=https")], "192.0.2.1", false),
            (f, "11.0.0.1", &[(FWD, "for=192.0.2.9")], "11.0.0.1", false),
            // A proxy's word, and nothing that the caller wrote before it.
            (x, proxy, &[(XFF, "192.0.2.1"), (XFP, "https")], "192.0.2.1", true),
            (x, proxy, &[(XFF, "192.0.2.66, 192.0.2.1"), (XFP, "https")], "192.0.2.1", true),
            (x, proxy, &[(XFF, "192.0.2.66"), (XFF, "192.0.2.1")], "192.0.2.1", false),
            (x, proxy, &[(XFF, "192.0.2.66, 192.0.2.1, 10.1.1.1")], "192.0.2.1", false),
            (x, proxy, &[(XFF, "10.0.0.66, 192.0.2.1, 10.1.1.1")], "192.0.2.1", false),
            // One scheme per hop counts from the same end.
            (x, proxy, &[(XFF, "192.0.2.1, 10.1.1.1"), (XFP, "https, http")], "192.0.2.1", true),
            (x, proxy, &[(XFF, "192.0.2.66, 192.0.2.1"), (XFP, "https, http")], "192.0.2.1", false),
            (x, proxy, &[(XFF, "192.0.2.1"), (XFP, "https, http")], "192.0.2.1", false),
            // The other header is not looked at.
            (x, proxy, &[(FWD, "for=192.0.2.66;proto=https")], proxy, false),
            (f, proxy, &[(XFF, "192.0.2.66"), (XFP, "https")], proxy, false),
            // What cannot be read ends the search at the last address that could.
            (x, proxy, &[(XFF, "192.0.2.66, unknown")], proxy, false),
            (x, proxy, &[(XFF, "192.0.2.66, nonsense, 10.1.1.1")], "10.1.1.1", false),
            (x, proxy, &[(XFF, "")], proxy, false),
            (x, proxy, &[(XFF, "192.0.2.66\u{e9}")], proxy, false),
            (x, proxy, &[(XFF, &many)], "10.0.0.9", false),
            (x, proxy, &[(XFF, &long)], proxy, false),
            // All are proxies: the first of them asked.
            (x, proxy, &[(XFF, "10.0.0.7, 10.0.0.8")], "10.0.0.7", false),
            // Ports, IPv6, IPv4 in IPv6.
            (x, proxy, &[(XFF, "192.0.2.1:4711")], "192.0.2.1", false),
            (x, proxy, &[(XFF, "[2001:db8::1]:4711")], "2001:db8::1", false),
            (x, proxy, &[(XFF, "[2001:db8::1]")], "2001:db8::1", false),
            (x, proxy, &[(XFF, "2001:db8::1")], "2001:db8::1", false),
            (x, proxy, &[(XFF, "::ffff:192.0.2.1")], "192.0.2.1", false),
            (x, "::ffff:10.0.0.1", &[(XFF, "192.0.2.1")], "192.0.2.1", false),
            (x, "2001:db8:ffff::1", &[(XFF, "192.0.2.1")], "192.0.2.1", false),
            (x, "2001:db8:fffe::1", &[(XFF, "192.0.2.1")], "2001:db8:fffe::1", false),
            // RFC 7239.
            (f, proxy, &[(FWD, "for=192.0.2.1;proto=https;by=10.0.0.1")], "192.0.2.1", true),
            (f, proxy, &[(FWD, "FOR=\"[2001:db8::1]:4711\"; Proto=HTTPS")], "2001:db8::1", true),
            (f, proxy, &[(FWD, "for=192.0.2.66, for=192.0.2.1")], "192.0.2.1", false),
            (f, proxy, &[(FWD, "for=192.0.2.1;proto=https, for=10.0.0.9")], "192.0.2.1", true),
            (f, proxy, &[(FWD, "for=\"192.0.2.66, for=192.0.2.67\"")], proxy, false),
            (f, proxy, &[(FWD, "for=192.0.2.66;for=192.0.2.67")], proxy, false),
            (f, proxy, &[(FWD, "for=_hidden")], proxy, false),
            (f, proxy, &[(FWD, "host=a;proto=https")], proxy, false),
            // A quote that the caller left open swallows what the proxy appended: then nobody is believed.
            (f, proxy, &[(FWD, "for=\"192.0.2.66, for=192.0.2.1")], proxy, false),
        ];
        for (header, from, given, address, secure) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *given {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
            let peer = proxies(*header).peer(from.parse().unwrap(), false, &headers);
            let expected = Peer { address: address.parse().unwrap(), secure: *secure };
            assert_eq!(peer, expected, "{from} {given:?}");
        }
    }

    #[test]
    fn tls_of_our_own_is_secure_whatever_a_stranger_says() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        let peer = proxies(Forwarded::XForwarded).peer([192, 0, 2, 1].into(), true, &headers);
        assert!(peer.secure);
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
