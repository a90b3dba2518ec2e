//! The tables of a dialect as JSON.

use fixp_codec::Dialect;
use fixp_codec::dialect::{Major, MinorSet, RequestOrder, Requests};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct DialectForm {
    dialect: &'static str,
    request_bytes: [&'static str; 2],
    content_length_key: u16,
    first_serial: u32,
    keeps_unknown_types: bool,
    types: Vec<TypeForm>,
    any_request: bool,
    majors: Vec<MajorForm>,
    first_answer: u16,
    last_answer: u16,
    answers: Vec<AnswerForm>,
    keys: Vec<KeyForm>,
}

#[derive(Serialize)]
struct TypeForm {
    code: u8,
    #[serde(rename = "type")]
    ty: &'static str,
}

#[derive(Serialize)]
struct MajorForm {
    major: u8,
    name: &'static str,
    /// Whether minors without a name are legal too.
    any_minor: bool,
    minors: Vec<MinorForm>,
}

#[derive(Serialize)]
struct MinorForm {
    minor: u8,
    name: &'static str,
}

#[derive(Serialize)]
struct AnswerForm {
    code: u16,
    name: &'static str,
}

#[derive(Serialize)]
struct KeyForm {
    key: u16,
    name: &'static str,
    #[serde(rename = "type")]
    ty: Option<&'static str>,
}

impl From<&Dialect> for DialectForm {
    fn from(dialect: &Dialect) -> Self {
        let (first_answer, last_answer) = dialect.answers();
        Self {
            dialect: dialect.name(),
            request_bytes: request_bytes(dialect),
            content_length_key: dialect.content_length_key(),
            first_serial: dialect.first_serial(),
            keeps_unknown_types: dialect.keeps_unknown_types(),
            types: types(dialect).map(|(code, ty)| TypeForm { code, ty }).collect(),
            any_request: matches!(dialect.requests(), Requests::Any(_)),
            majors: dialect.requests().majors().iter().map(MajorForm::from).collect(),
            first_answer,
            last_answer,
            answers: dialect
                .answer_names()
                .iter()
                .map(|row| AnswerForm { code: row.number, name: row.name })
                .collect(),
            keys: dialect
                .keys()
                .iter()
                .map(|row| KeyForm { key: row.number, name: row.name, ty: row.ty.map(|ty| ty.name()) })
                .collect(),
        }
    }
}

impl From<&Major> for MajorForm {
    fn from(major: &Major) -> Self {
        Self {
            major: major.number,
            name: major.name,
            any_minor: major.legal == MinorSet::ALL,
            minors: major.minors.iter().map(|row| MinorForm { minor: row.number, name: row.name }).collect(),
        }
    }
}

/// The two bytes of a request, in their order.
pub(super) fn request_bytes(dialect: &Dialect) -> [&'static str; 2] {
    match dialect.request_order() {
        RequestOrder::MajorFirst => ["major", "minor"],
        RequestOrder::MinorFirst => ["minor", "major"],
    }
}

/// The type codes with their types.
pub(super) fn types(dialect: &Dialect) -> impl Iterator<Item = (u8, &'static str)> {
    (0..16).filter_map(|code| dialect.type_of(code).map(|ty| (code, ty.name())))
}
