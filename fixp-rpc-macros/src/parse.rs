//! From a trait to what is wanted of it, with errors that point at the user's line.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Generics, Ident, Item, Lit, LitStr, Meta, Pat,
    PathArguments, Result, ReturnType, Token, TraitItem, TraitItemFn, Type, Visibility,
};

use crate::expand::plain;

/// What stands in the attribute's brackets.
pub(crate) struct Options {
    name: Option<LitStr>,
    /// Whether that is a Java interface's.
    java: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { name: None, java: false });
        }
        let only =
            |error: Error| Error::new(error.span(), "there is only `name = \"...\"`, or `java = \"...\"`");
        let word: Ident = input.parse().map_err(only)?;
        let java = word == "java";
        if !java && word != "name" {
            return Err(only(Error::new(word.span(), "")));
        }
        input.parse::<Token![=]>().map_err(only)?;
        let name: LitStr = input.parse().map_err(only)?;
        if !input.is_empty() {
            return Err(input.error("nothing comes behind the name"));
        }
        Ok(Self { name: Some(name), java })
    }
}

/// The most bytes of an interface's or a method's name.
const NAME: usize = 255;

/// The name of the interface that every server of calls has.
const RESERVED: &str = "fixp";

/// What a client has beside its methods.
const TAKEN: [&str; 2] = ["new", "calls"];

/// A trait that is an interface.
pub(crate) struct Interface {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    pub(crate) name: String,
    /// Whether the programs call it, too.
    pub(crate) java: bool,
    pub(crate) docs: String,
    pub(crate) methods: Vec<Method>,
}

/// A method of it.
pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) ident: Ident,
    pub(crate) docs: String,
    /// The parameter for the context, if it has one.
    pub(crate) context: Option<(Ident, Type)>,
    pub(crate) arguments: Vec<(Ident, Type)>,
    /// The parameter for what is streamed to it, if it has one.
    pub(crate) body: Option<(Ident, Type)>,
    pub(crate) output: Type,
    /// The value and the error, where the output is a `Result`.
    pub(crate) result: Option<(Type, Type)>,
    pub(crate) gives: Gives,
    pub(crate) idempotent: bool,
    pub(crate) one_way: bool,
}

/// What a method gives.
pub(crate) enum Gives {
    Value,
    Stream,
    /// A value of this type, and a stream.
    Both(Box<Type>),
}

impl Interface {
    pub(crate) fn parse(options: Options, item: Item) -> Result<Self> {
        let Item::Trait(item) = item else {
            return Err(Error::new_spanned(item, "an interface is a trait"));
        };
        without_parameters(&item.generics, "an interface has no type parameters")?;
        if !item.supertraits.is_empty() {
            return Err(Error::new_spanned(item.supertraits, "an interface has no traits above it"));
        }
        if let Some(word) = item.unsafety {
            return Err(Error::new_spanned(word, "nothing is unsafe in calling an interface"));
        }
        let (name, span) = match options.name {
            Some(name) => (name.value(), name.span()),
            None => (item.ident.to_string(), item.ident.span()),
        };
        travels(&name, span)?;
        // The crate's own interface tells of all others (SPEC 13.7).
        if name == RESERVED && std::env::var("CARGO_PKG_NAME").as_deref() != Ok("fixp-rpc") {
            return Err(Error::new(span, "the interface of this name tells of all others"));
        }
        let mut methods: Vec<Method> = Vec::new();
        let mut errors: Option<Error> = None;
        for item in item.items {
            let method = match item {
                TraitItem::Fn(item) => Method::parse(item),
                other => Err(Error::new_spanned(other, "an interface has methods and nothing else")),
            }
            .and_then(|method| match methods.iter().any(|known| known.ident == method.ident) {
                true => Err(Error::new_spanned(method.ident, "another method has this name")),
                false if options.java => crate::java::fits(&methods, method),
                false => Ok(method),
            });
            match (method, &mut errors) {
                (Ok(method), _) => methods.push(method),
                (Err(error), Some(errors)) => errors.combine(error),
                (Err(error), none) => *none = Some(error),
            }
        }
        match errors {
            Some(errors) => Err(errors),
            None => Ok(Self {
                docs: docs(&item.attrs),
                attributes: item.attrs,
                visibility: item.vis,
                ident: item.ident,
                name,
                java: options.java,
                methods,
            }),
        }
    }
}

impl Method {
    fn parse(item: TraitItemFn) -> Result<Self> {
        let TraitItemFn { mut attrs, sig, default, .. } = item;
        if sig.asyncness.is_none() {
            return Err(Error::new_spanned(sig.fn_token, "a method of an interface is `async fn`"));
        }
        if let Some(cfg) = attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            return Err(Error::new_spanned(cfg, "an interface has the same methods however it is compiled"));
        }
        if let Some(body) = default {
            return Err(Error::new_spanned(body, "a method of an interface has no body"));
        }
        if let Some(word) = sig.unsafety {
            return Err(Error::new_spanned(word, "nothing is unsafe in calling a method of an interface"));
        }
        without_parameters(&sig.generics, "a method of an interface has no type parameters")?;
        if TAKEN.iter().any(|taken| sig.ident == taken) {
            return Err(Error::new_spanned(sig.ident, "the client has this name for something of its own"));
        }
        travels(&plain(&sig.ident), sig.ident.span())?;
        let mut inputs = sig.inputs.into_iter();
        match inputs.next() {
            Some(FnArg::Receiver(it)) if it.reference.is_some() && it.mutability.is_none() => {}
            Some(other) => return Err(Error::new_spanned(other, "the first parameter is `&self`")),
            None => return Err(Error::new_spanned(sig.ident, "the first parameter is `&self`")),
        }
        let (mut context, mut body) = (None, None);
        let mut arguments = Vec::new();
        for (index, input) in inputs.enumerate() {
            let FnArg::Typed(input) = input else { continue };
            if let Some(attribute) = input.attrs.first() {
                return Err(Error::new_spanned(attribute, "an argument has no attributes"));
            }
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(Error::new_spanned(input.pat, "an argument has a plain name: it travels by it"));
            };
            if body.is_some() {
                return Err(Error::new_spanned(input, "nothing comes behind the stream"));
            }
            if is_named(&input.ty, "Body") {
                body = Some((pattern.ident.clone(), *input.ty));
            } else if !is_named(&input.ty, "Context") {
                crosses(&input.ty)?;
                arguments.push((pattern.ident.clone(), *input.ty));
            } else if index == 0 {
                context = Some((pattern.ident.clone(), *input.ty));
            } else {
                return Err(Error::new_spanned(input, "the context is the first parameter behind `&self`"));
            }
        }
        let output = match sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => *ty,
        };
        let idempotent = take_mark(&mut attrs, "idempotent")?;
        let one_way = take_mark(&mut attrs, "one_way")?;
        if one_way && !matches!(&output, Type::Tuple(tuple) if tuple.elems.is_empty()) {
            return Err(Error::new_spanned(output, "nobody waits for what a one-way method returns"));
        }
        crosses(&output)?;
        let result = value_and_error(&output)?;
        let gives = match result.as_ref().map_or(&output, |(value, _)| value) {
            ty if is_named(ty, "Body") => Gives::Stream,
            Type::Tuple(both) if both.elems.len() == 2 && is_named(&both.elems[1], "Body") => {
                Gives::Both(Box::new(both.elems[0].clone()))
            }
            _ => Gives::Value,
        };
        if (idempotent || one_way) && (body.is_some() || !matches!(gives, Gives::Value)) {
            return Err(Error::new_spanned(sig.ident, "a stream is waited for, and cannot be sent again"));
        }
        let docs = docs(&attrs);
        let ident = sig.ident;
        Ok(Self {
            attributes: attrs,
            ident,
            docs,
            context,
            arguments,
            body,
            output,
            result,
            gives,
            idempotent,
            one_way,
        })
    }

    /// Whether bytes are streamed to it or by it.
    pub(crate) fn streams(&self) -> bool {
        self.body.is_some() || !matches!(self.gives, Gives::Value)
    }
}

/// That a name can stand in a call (SPEC 13.2).
fn travels(name: &str, span: Span) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if name.is_empty() || name.len() > NAME || !name.chars().all(fits) {
        return Err(Error::new(span, format!("a name is of 1 to {NAME} letters, digits, and `_-.$`")));
    }
    Ok(())
}

/// Takes a mark of ours from among the attributes.
fn take_mark(attributes: &mut Vec<Attribute>, name: &str) -> Result<bool> {
    let Some(at) = attributes.iter().position(|attribute| attribute.path().is_ident(name)) else {
        return Ok(false);
    };
    let mark = attributes.remove(at);
    if let Some(again) = attributes.iter().find(|attribute| attribute.path().is_ident(name)) {
        return Err(Error::new_spanned(again, format!("`#[{name}]` stands here twice")));
    }
    match mark.meta {
        Meta::Path(_) => Ok(true),
        other => Err(Error::new_spanned(other, format!("`#[{name}]` stands alone"))),
    }
}

/// That something has neither type parameters nor bounds.
fn without_parameters(generics: &Generics, says: &str) -> Result<()> {
    if !generics.params.is_empty() {
        return Err(Error::new_spanned(&generics.params, says));
    }
    match &generics.where_clause {
        Some(bounds) => Err(Error::new_spanned(bounds, "there is nothing to be bounded")),
        None => Ok(()),
    }
}

/// That values of a type can cross the network, as far as its author's words tell.
fn crosses(ty: &Type) -> Result<()> {
    struct Search(Option<Error>);
    impl<'a> Visit<'a> for Search {
        fn visit_type(&mut self, ty: &'a Type) {
            let says = match ty {
                Type::Reference(_) => "what crosses the network owns what it has: `String` for `&str`",
                Type::ImplTrait(_) | Type::TraitObject(_) => "what crosses the network is of one type",
                Type::Path(path) if path.path.is_ident("Self") => {
                    "whoever implements the interface does not cross the network"
                }
                _ => return visit::visit_type(self, ty),
            };
            self.0.get_or_insert_with(|| Error::new_spanned(ty, says));
        }
    }
    let mut search = Search(None);
    search.visit_type(ty);
    search.0.map_or(Ok(()), Err)
}

/// What the documentation of an item says.
fn docs(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attribute.meta
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
        {
            lines.push(text.value().trim().to_owned());
        }
    }
    lines.join("\n")
}

fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// Whether a type has this name, wherever it comes from.
fn is_named(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name)
}

/// The two types of a `Result`; an alias that hides one would make the error a part of the value.
fn value_and_error(output: &Type) -> Result<Option<(Type, Type)>> {
    let Some(segment) = last_segment(output).filter(|segment| segment.ident == "Result") else {
        return Ok(None);
    };
    if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
        let mut types = arguments.args.iter().filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty.clone()),
            _ => None,
        });
        if let (Some(value), Some(error)) = (types.next(), types.next()) {
            return Ok(Some((value, error)));
        }
    }
    Err(Error::new_spanned(output, "both types of the `Result`"))
}
