//! What OAuth clients present, read strictly: the pieces of OAuth 2.0 that need no server.
//!
//! Everything here comes from strangers, so everything is bounded, every member stands once, and nothing is chosen by
//! the one who presents it: the algorithm is that of the key, the audience is ours, the time is a parameter. Where a
//! thing may be used only once, its `jti` comes back with the moment at which it may be forgotten: [`once`] refuses the
//! second use.
//!
//! | module | noun | of |
//! |---|---|---|
//! | [`authorization`] | an authorization request, and the steps to its answer | RFC 6749; OpenID Connect Core |
//! | [`jwk`] | the public keys of others | RFC 7517, 7638, 8037 |
//! | [`jws`] | a signed text, before anybody believes it | RFC 7515, 8725 |
//! | [`assertion`] | a client proves who it is with a key | RFC 7521, 7523 |
//! | [`device`] | a device without a browser, which waits for its user | RFC 8628 |
//! | [`dpop`] | a request proves that it has the key of its token | RFC 9449 |
//! | [`exchange`] | a user's token for one that a service may use on their behalf | RFC 8693 |
//! | [`once`] | what may be used once | RFC 7523, 9449 |
//! | [`registration`] | a client that registers itself | RFC 7591, 7592 |
//! | [`request_object`] | an authorization request that its client signed | RFC 9101 |
//! | [`grant`] | in exchange for what there are tokens | RFC 6749, 7591 |
//! | [`pkce`] | the challenge of a request | RFC 7636, 9700 |
//! | [`pushed`] | a request that went before its browser | RFC 9126 |
//! | [`resource`] | for whom it is asked | RFC 8707 |
//! | [`uri`] | URIs, and where a browser may be sent back to | RFC 3986, 8252, 9700 |

pub mod assertion;
pub mod authorization;
pub mod claims;
pub mod device;
pub mod dpop;
pub mod exchange;
pub mod grant;
pub mod jwk;
pub mod jws;
pub mod once;
pub mod pkce;
pub mod pushed;
pub mod registration;
pub mod request_object;
pub mod resource;
pub mod uri;
