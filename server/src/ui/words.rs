//! Every word of the pages, in every language. One line has both, so none can be missing.
//!
//! The Korean is in the polite 해요 form throughout. Where a name or a number stands in a sentence, the sentence is
//! built so that no particle depends on how it ends.

use super::{Locale, Over};

macro_rules! words {
    ($($key:ident: $en:literal, $ko:literal;)*) => {
        /// The fixed phrases of one language; its methods are the phrases with something in them.
        #[derive(Debug)]
        pub(super) struct Words {
            pub(super) locale: Locale,
            $(pub(super) $key: &'static str,)*
        }

        static EN: Words = Words { locale: Locale::En, $($key: $en,)* };
        static KO: Words = Words { locale: Locale::Ko, $($key: $ko,)* };

        /// Every phrase with its key, for the tests.
        #[cfg(test)]
        pub(super) const PHRASES: &[(&str, &str, &str)] = &[$((stringify!($key), $en, $ko),)*];
    };
}

words! {
    // Around every page.
    skip: "Skip to content", "본문으로 건너뛰기";
    language: "Language", "언어";
    account: "Account", "계정";
    account_pages: "Account pages", "계정 메뉴";
    more: "More", "더 보기";
    error_prefix: "Error: ", "오류: ";
    log_in: "Log in", "로그인";
    log_out: "Log out", "로그아웃";
    register: "Create an account", "계정 만들기";

    // Fields.
    username: "Username", "아이디";
    password: "Password", "비밀번호";
    current_password: "Current password", "현재 비밀번호";
    new_password: "New password", "새 비밀번호";
    invitation: "Invitation code", "초대 코드";
    remember: "Keep me logged in on this device", "이 기기에서 로그인 상태 유지";
    remember_hint: "Not on a computer that others use.", "여럿이 쓰는 컴퓨터에서는 선택하지 마세요.";
    username_hint: "Up to 128 characters, without spaces.", "공백 없이 128자까지 쓸 수 있어요.";
    problems: "That did not work", "처리하지 못했어요";

    // Login and registration.
    no_account: "New here?", "아직 계정이 없나요?";
    have_account: "Already have an account?", "이미 계정이 있나요?";
    login_needed: "Log in to go on.", "계속하려면 로그인해 주세요.";
    session_ended: "Your session has ended. Log in to go on.", "세션이 종료됐어요. 계속하려면 다시 로그인해 주세요.";
    login_again: "Log in once more to go on.", "계속하려면 한 번 더 로그인해 주세요.";
    registered: "Now log in", "이제 로그인해 주세요";
    registered_body: "If that username was free, the account exists now and you can log in.", "사용할 수 있는 아이디였다면 계정이 만들어졌어요. 바로 로그인할 수 있어요.";
    registered_taken: "If it was taken, nothing has changed.", "이미 쓰이고 있는 아이디였다면 달라진 것은 없어요.";
    register_again: "Try another username", "다른 아이디로 만들기";

    // Logout.
    logout_question: "Log out?", "로그아웃할까요?";
    logout_body: "This ends the session on this device, and every app that was let in through it.", "이 기기의 세션과, 이 세션으로 연결된 앱이 모두 종료돼요.";
    stay: "Stay logged in", "로그인 상태로 두기";
    logged_out: "You are logged out", "로그아웃했어요";
    logged_out_here: "The session on this device has ended.", "이 기기의 세션을 종료했어요.";
    logged_out_everywhere: "Every session of your account has ended, on every device.", "모든 기기에서 계정의 세션을 종료했어요.";
    logged_out_back: "Back to the application", "애플리케이션으로 돌아가기";
    log_in_again: "Log in again", "다시 로그인";

    // Devices and sessions.
    devices: "Devices and sessions", "기기와 세션";
    devices_body: "Everywhere you are logged in. An app stands under the browser that let it in, and ends with it unless it says otherwise.", "로그인되어 있는 모든 곳이에요. 앱은 연결을 허용한 브라우저 아래에 표시되고, 다른 표시가 없으면 그 브라우저의 세션과 함께 종료돼요.";
    this_device: "This device", "이 기기";
    last_seen: "Last seen", "마지막 사용";
    logged_in_at: "Logged in", "로그인한 때";
    address: "Address", "IP 주소";
    assurance: "Assurance", "인증 수준";
    one_factor: "One factor", "1단계 인증";
    two_factors: "Two factors", "2단계 인증";
    holds: "Holds", "로그인 정보";
    cookie: "Cookie", "쿠키";
    tokens: "Tokens", "토큰";
    holds_nothing: "Nothing", "없음";
    remembered: "Remembered", "로그인 유지";
    outlives: "Stays after logout", "로그아웃해도 유지";
    apps: "Apps let in by this browser", "이 브라우저에서 연결한 앱";
    end: "End", "종료";
    end_more: "End more at once", "한꺼번에 종료하기";
    end_others: "End all others", "다른 세션 모두 종료";
    end_others_body: "Only this session stays.", "지금 쓰는 이 세션만 남아요.";
    end_all: "End everything", "모두 종료";
    end_all_body: "This session too. You will have to log in again.", "지금 쓰는 이 세션도 종료돼요. 다시 로그인해야 해요.";

    // Applications of others.
    app_list: "Apps", "앱";
    app_list_body: "What you have allowed to applications. Take it back, and they are logged out at once, in every browser.", "애플리케이션에 허용한 권한이에요. 취소하면 모든 브라우저에서 그 앱의 로그인이 바로 종료돼요.";
    app_list_empty: "No application is allowed anything.", "권한을 허용한 애플리케이션이 없어요.";
    app_since: "Since", "허용한 때";
    app_may: "What it may do", "허용한 권한";
    app_forbid: "Take back", "허용 취소";
    app_forbidden: "The application may do nothing more.", "애플리케이션의 권한을 모두 취소했어요.";
    consent_wants: "It wants to:", "요청하는 권한:";
    consent_goes_to: "Then you go to", "다음에 이동할 곳:";
    consent_back: "You can take this back at any time on your account page.", "계정 페이지에서 언제든지 취소할 수 있어요.";
    app_policy: "Privacy policy", "개인정보 처리방침";
    app_terms: "Terms", "이용약관";
    allow: "Allow", "허용";
    deny: "Do not allow", "허용하지 않기";
    switch_account: "Use another account", "다른 계정 사용";
    scope_openid: "Know that it is you", "본인 확인하기";
    scope_profile: "See your name and profile", "이름과 프로필 보기";
    scope_email: "See your e-mail address", "이메일 주소 보기";
    scope_address: "See your postal address", "우편 주소 보기";
    scope_phone: "See your telephone number", "전화번호 보기";
    scope_offline_access: "Stay connected when you have logged out", "로그아웃한 뒤에도 연결 유지하기";

    // Devices without a browser.
    device_title: "Connect a device", "기기 연결";
    user_code: "Code", "코드";
    user_code_hint: "The 8 letters that your device shows, such as WDJB-MJHT.", "기기에 WDJB-MJHT처럼 표시된 글자 8개를 입력해 주세요.";
    device_shows: "Your device must show this code:", "기기에 표시되어 있어야 하는 코드:";
    device_warning: "Allow this only if you see this code on a device of yours right now. If somebody sent or read it to you, do not allow it: they would be logged in as you.", "지금 내 기기에 이 코드가 보일 때만 허용하세요. 다른 사람이 보내거나 불러 준 코드라면 허용하지 마세요. 그 사람이 내 계정으로 로그인하게 돼요.";
    device_allowed: "The device is connected", "기기를 연결했어요";
    device_allowed_body: "It goes on by itself in a moment. You can end it at any time on your account page.", "잠시 뒤 기기에서 저절로 이어져요. 계정 페이지에서 언제든지 종료할 수 있어요.";
    device_denied: "The device is not connected", "기기를 연결하지 않았어요";
    device_denied_body: "It gets nothing. If somebody gave you the code, they wanted to get into your account.", "기기는 아무 권한도 받지 못했어요. 다른 사람이 알려 준 코드였다면 내 계정에 들어오려던 시도였을 수 있어요.";

    // Password.
    change_password: "Change password", "비밀번호 변경";
    change_password_body: "All other sessions end. This one goes on.", "비밀번호를 바꾸면 다른 세션은 모두 종료되고, 지금 쓰는 이 세션만 남아요.";

    // Home and going on.
    home_body: "Log in to see your devices and sessions.", "로그인하면 기기와 세션을 볼 수 있어요.";
    home_logged_in: "You are logged in.", "로그인되어 있어요.";
    go_on: "Continue", "계속하기";
    go_on_body: "You are still logged in. One click takes you on.", "로그인은 그대로예요. 버튼을 누르면 하던 일을 이어서 할 수 있어요.";

    // Problems with a form.
    wrong_credentials: "Username or password is wrong.", "아이디 또는 비밀번호가 맞지 않아요.";
    busy: "Many people are logging in right now. Try again in a moment.", "지금 로그인 요청이 많아요. 잠시 뒤에 다시 시도해 주세요.";
    form_expired: "The form was open for too long, and nothing was changed. Send it once more.", "양식을 연 지 오래되어 처리하지 않았어요. 한 번 더 보내 주세요.";
    invalid_username: "A username has 1 to 128 characters, without spaces.", "아이디는 공백 없이 1자에서 128자까지 입력해 주세요.";
    name_taken: "Somebody has this username. Choose another; your invitation is still good.", "이미 쓰이고 있는 아이디예요. 다른 아이디를 골라 주세요. 초대 코드는 그대로 쓸 수 있어요.";
    password_common: "This password is among the first that attackers try. Choose another one.", "공격자가 먼저 시도하는 흔한 비밀번호예요. 다른 비밀번호를 정해 주세요.";
    password_name: "This password is little more than a name. Choose another one.", "이름이나 아이디와 너무 비슷한 비밀번호예요. 다른 비밀번호를 정해 주세요.";
    wrong_password: "The current password is wrong.", "현재 비밀번호가 맞지 않아요.";
    wrong_user_code: "No device is waiting with this code. Check it, or let the device show a new one.", "이 코드로 기다리는 기기가 없어요. 코드를 확인하거나 기기에서 새 코드를 받아 주세요.";
    wrong_invitation: "This invitation code does not work.", "사용할 수 없는 초대 코드예요.";

    // Refusals: what happened, and what to do.
    bad_request: "This request cannot be understood", "요청을 이해하지 못했어요";
    bad_request_help: "Nothing was changed. Go back and try again from the start.", "바뀐 것은 없어요. 이전 화면으로 돌아가 처음부터 다시 시도해 주세요.";
    authorization: "The application asked for something that cannot be done", "애플리케이션이 처리할 수 없는 요청을 보냈어요";
    authorization_help: "You did nothing wrong, and nothing was changed. Tell the people who run the application what is named below.", "잘못하신 것은 없고 바뀐 것도 없어요. 애플리케이션 운영자에게 아래 내용을 알려 주세요.";
    parameter: "The parameter that is wrong:", "잘못된 매개변수:";
    foreign_form: "This form did not come from here", "이곳에서 보낸 양식이 아니에요";
    foreign_form_help: "Nothing was changed. If you meant it, open the page here and send the form again.", "바뀐 것은 없어요. 직접 하려던 일이라면 이곳에서 페이지를 열고 양식을 다시 보내 주세요.";
    forbidden: "You are not allowed to do this", "이 작업을 할 권한이 없어요";
    forbidden_help: "If you should be, ask the people who run this service.", "권한이 필요하면 서비스 운영자에게 문의해 주세요.";
    not_found: "There is nothing here", "찾는 페이지가 없어요";
    not_found_help: "Check the address, or begin again from the start page.", "주소를 확인하거나 첫 화면에서 다시 시작해 주세요.";
    closed: "Registration is closed", "지금은 가입을 받지 않아요";
    closed_help: "Ask the people who run this service for an account.", "계정이 필요하면 서비스 운영자에게 문의해 주세요.";
    too_large: "That was too much at once", "한 번에 보낸 내용이 너무 커요";
    too_large_help: "Nothing was changed. Send less.", "바뀐 것은 없어요. 내용을 줄여서 다시 보내 주세요.";
    too_many: "Too many attempts", "시도 횟수가 너무 많아요";
    too_many_help: "Wait a little, then try again.", "조금 기다린 뒤에 다시 시도해 주세요.";
    unavailable: "This is not possible right now", "지금은 처리할 수 없어요";
    unavailable_help: "Try again in a moment.", "잠시 뒤에 다시 시도해 주세요.";
    internal: "Something broke on our side", "서비스에 문제가 생겼어요";
    internal_help: "It was noted. Try again; if it stays, tell the people who run this service.", "문제를 기록해 두었어요. 다시 시도해도 같다면 서비스 운영자에게 알려 주세요.";
    quote: "Quote this when you ask for help.", "문의할 때 아래 번호를 함께 알려 주세요.";
    start_page: "Start page", "첫 화면으로";

    just_now: "just now", "방금";
    password_changed: "Password changed.", "비밀번호를 바꿨어요.";
}

/// One phrase in the language of `self`: English, then Korean.
macro_rules! say {
    ($words:expr, $en:literal, $ko:literal) => {
        match $words.locale {
            Locale::En => format!($en),
            Locale::Ko => format!($ko),
        }
    };
}

impl Words {
    pub(super) const fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::En => &EN,
            Locale::Ko => &KO,
        }
    }

    pub(super) fn log_in_to(&self, brand: &str) -> String {
        say!(self, "Log in to {brand}", "{brand} 로그인")
    }

    pub(super) fn consent_title(&self, client: &str) -> String {
        say!(self, "Give {client} access?", "{client}에 권한을 허용할까요?")
    }

    pub(super) fn device_consent_title(&self, client: &str) -> String {
        say!(self, "Connect a device to {client}?", "{client} 앱을 쓰는 기기를 연결할까요?")
    }

    pub(super) fn choose_title(&self, client: &str) -> String {
        say!(self, "Go on to {client}?", "{client} 앱으로 계속할까요?")
    }

    pub(super) fn logged_in_as(&self, user: &str) -> String {
        say!(self, "You are logged in as {user}.", "{user}\u{a0}님으로 로그인되어 있어요.")
    }

    pub(super) fn hello(&self, name: &str) -> String {
        say!(self, "Hello, {name}", "안녕하세요, {name}\u{a0}님")
    }

    pub(super) fn logout_asked(&self, client: &str) -> String {
        say!(self, "{client} asks you to log out.", "{client} 앱에서 로그아웃을 요청했어요.")
    }

    pub(super) fn generation(&self, number: u64) -> String {
        say!(self, "generation {number}", "{number}세대")
    }

    pub(super) fn password_hint(&self, min: usize) -> String {
        say!(
            self,
            "At least {min} characters. A few unrelated words are easy to keep; digits and signs are not needed.",
            "{min}자 이상이어야 해요. 서로 관련 없는 단어 몇 개를 이어 쓰면 기억하기 쉬워요. 숫자나 기호는 없어도 돼요."
        )
    }

    pub(super) fn too_short(&self, min: usize) -> String {
        say!(
            self,
            "The new password needs at least {min} characters.",
            "새 비밀번호를 {min}자 이상으로 정해 주세요."
        )
    }

    pub(super) fn too_long(&self, max: usize) -> String {
        say!(
            self,
            "The new password has more than {max} bytes.",
            "새 비밀번호가 {max}바이트를 넘어요. 더 짧게 정해 주세요."
        )
    }

    pub(super) fn try_again_in(&self, wait: &str) -> String {
        say!(
            self,
            "Too many attempts. Try again in {wait}.",
            "시도 횟수가 너무 많아요. {wait} 뒤에 다시 시도해 주세요."
        )
    }

    pub(super) fn one_ended(&self, over: Over) -> String {
        let ended = say!(self, "The session has ended.", "세션을 종료했어요.");
        format!("{ended} {}", self.over(over))
    }

    pub(super) fn others_ended(&self, count: u64, over: Over) -> String {
        let ended = match count {
            0 => return self.no_others().to_owned(),
            1 => say!(self, "One other session has ended.", "다른 세션 1개를 종료했어요."),
            _ => say!(
                self,
                "{count} other sessions have ended.",
                "다른 세션 {count}개를 종료했어요."
            ),
        };
        format!("{ended} {}", self.over(over))
    }

    const fn no_others(&self) -> &'static str {
        match self.locale {
            Locale::En => "There was no other session.",
            Locale::Ko => "종료할 다른 세션이 없었어요.",
        }
    }

    pub(super) fn over(&self, over: Over) -> String {
        match over {
            Over::After { ms } => say!(
                self,
                "It was over everywhere after {ms} ms.",
                "{ms}ms 만에 모든 곳에서 끝났어요."
            ),
            Over::NotYet => say!(
                self,
                "A service that cannot be reached may still let it in for a moment.",
                "연결되지 않는 서비스에서는 잠시 더 쓰일 수 있어요."
            ),
        }
    }

    pub(super) fn seconds(&self, n: u64) -> String {
        let s = plural(n);
        say!(self, "{n} second{s}", "{n}초")
    }

    pub(super) fn minutes(&self, n: u64) -> String {
        let s = plural(n);
        say!(self, "{n} minute{s}", "{n}분")
    }

    pub(super) fn minutes_ago(&self, n: u64) -> String {
        let s = plural(n);
        say!(self, "{n} minute{s} ago", "{n}분 전")
    }

    pub(super) fn hours_ago(&self, n: u64) -> String {
        let s = plural(n);
        say!(self, "{n} hour{s} ago", "{n}시간 전")
    }

    pub(super) fn days_ago(&self, n: u64) -> String {
        let s = plural(n);
        say!(self, "{n} day{s} ago", "{n}일 전")
    }
}

/// The English ending of a counted noun.
const fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_hangul(c: char) -> bool {
        ('가'..='힣').contains(&c)
    }

    #[test]
    fn every_phrase_is_in_its_own_language() {
        for (key, en, ko) in PHRASES {
            assert!(!en.trim().is_empty() && !en.contains(is_hangul), "{key}: {en}");
            assert!(ko.contains(is_hangul), "{key}: {ko}");
            assert_eq!(en.ends_with('.'), ko.ends_with('.'), "{key}: {en} / {ko}");
        }
    }

    #[test]
    fn korean_is_in_one_polite_form_and_needs_no_particle_choice() {
        for (key, _, ko) in PHRASES {
            for sentence in ko.split_terminator(". ").filter(|_| ko.ends_with('.')) {
                let sentence = sentence.trim_end_matches('.');
                let polite = sentence.ends_with('요') || sentence.ends_with("죠");
                assert!(polite, "{key}: {sentence}");
            }
            for choice in ["(을)", "(를)", "(이)", "(가)", "은(는)", "니다"] {
                assert!(!ko.contains(choice), "{key}: {ko}");
            }
        }
    }
}
