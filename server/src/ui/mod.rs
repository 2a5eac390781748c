//! The pages: pure functions from a view to HTML, in English and Korean, without script.
//!
//! A [`Site`] is made once from the configuration; a [`Page`] says who looks at it, and where; a view says what is on
//! it and is rendered by [`Template::render`]. Nothing here reads a request, a clock or a store.
//!
//! What the forms and links of the pages ask of the routes, each below the base path:
//!
//! | form (`id`) | request | fields beside `csrf_token` |
//! |---|---|---|
//! | `login-form` | `POST /login` | `username password remember=1? next` |
//! | `register-form` | `POST /register` | `username new_password invitation? next` |
//! | `logout-form` | `POST /logout` | `next` |
//! | `logout-form` of [`LogoutAsked`] | `POST /oauth2/logout/confirm` | `client_id post_logout_redirect_uri state` |
//! | `device-form` | `POST /device` | `user_code` |
//! | `device-consent-form` | `POST /device` | `user_code decision=allow\|deny` |
//! | `password-form` | `POST /account/password` | `current_password new_password` |
//! | `end-<sid>` | `POST /account/sessions/<sid>/end` | |
//! | `end-others` | `POST /account/sessions/end-others` | |
//! | `end-all` | `POST /account/sessions/end-all` | |
//! | `continue-form` | `POST` to [`Continue::action`] | `next` |
//!
//! Links: `/`, `/login?next=`, `/register?next=`, `/logout`, `/account`, `/account/password`; every page but the answer
//! to a post can be asked again with `?ui_locales=`.

mod account;
mod apps;
mod brand;
mod forms;
mod locale;
mod moment;
mod notices;
mod site;
#[cfg(test)]
mod tests;
mod words;

pub use account::{Account, Done, Over, Session, TokenFamily};
pub use apps::{App, Apps, Consent, DeviceConsent, FormPost, Wanted};
pub use askama::Template;
pub use brand::{Brand, Colour, InvalidBrand, InvalidColour, Link};
pub use forms::{ChangePassword, ConnectDevice, Login, LoginReason, Problem, Register};
pub use locale::{Asked, Locale};
pub(crate) use moment::date_text;
pub use notices::{
    Continue, DeviceDone, Home, LoggedOut, Logout, LogoutAsked, Refusal, Refused, Registered,
};
pub use site::{
    ASSET_CACHE_CONTROL, ASSET_CSP, Asset, Elsewhere, Page, Site, csp, csp_framing, csp_sending,
};
