//! What OAuth clients present, at its door: the RFCs' own examples, what must be refused, what another library says.

#[cfg(test)]
mod assertion;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod dpop;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod jwk;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod request_object;
#[cfg(test)]
mod small;
#[cfg(test)]
mod uri;
#[cfg(test)]
mod vectors;
