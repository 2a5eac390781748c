//! What the shop sells. The pictures are files of their own, so that the pages need no inline style.

/// One article.
#[derive(Debug)]
pub(crate) struct Article {
    /// Its name in forms, in the cart and in the picture's address.
    pub(crate) id: &'static str,
    pub(crate) name: [&'static str; 2],
    pub(crate) about: [&'static str; 2],
    pub(crate) won: u32,
    pub(crate) picture: &'static str,
}

/// All articles. Texts are English, then Korean.
pub(crate) const GOODS: &[Article] = &[
    Article {
        id: "moon-lamp",
        name: ["Moon lamp", "달 등"],
        about: ["A paper lamp that dims like a setting moon.", "지는 달처럼 어두워지는 한지 등."],
        won: 68_000,
        picture: include_str!("../assets/moon-lamp.svg"),
    },
    Article {
        id: "tea-bowl",
        name: ["Tea bowl", "찻사발"],
        about: [
            "Broken once, mended with a visible seam.",
            "한 번 깨져, 이음매가 보이게 고친 사발.",
        ],
        won: 42_000,
        picture: include_str!("../assets/tea-bowl.svg"),
    },
    Article {
        id: "field-notes",
        name: ["Field notes", "들공책"],
        about: ["Ninety-six pages that lie flat in the wind.", "바람에도 펼쳐지는 아흔여섯 쪽."],
        won: 9_500,
        picture: include_str!("../assets/field-notes.svg"),
    },
    Article {
        id: "wind-bell",
        name: ["Wind bell", "풍경"],
        about: [
            "Brass, one low note, a fish to catch the wind.",
            "낮은 한 음, 바람을 무는 물고기.",
        ],
        won: 27_000,
        picture: include_str!("../assets/wind-bell.svg"),
    },
    Article {
        id: "half-tray",
        name: ["Half tray", "반달 소반"],
        about: [
            "Half a disc of oak. Two of them make a table.",
            "참나무 반달. 둘이 모이면 상이 된다.",
        ],
        won: 54_000,
        picture: include_str!("../assets/half-tray.svg"),
    },
    Article {
        id: "winter-blanket",
        name: ["Winter blanket", "겨울 담요"],
        about: [
            "Wool, woven slowly, for one and a half people.",
            "천천히 짠 양모, 한 사람 반을 덮는다.",
        ],
        won: 120_000,
        picture: include_str!("../assets/winter-blanket.svg"),
    },
];

/// The article of this id.
pub(crate) fn find(id: &str) -> Option<&'static Article> {
    GOODS.iter().find(|article| article.id == id)
}
