//! Access tokens: strict JWS (RFC 7515) and the JWT profile of RFC 9068.
