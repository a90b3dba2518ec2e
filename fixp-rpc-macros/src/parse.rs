//! From a trait to what is wanted of it, with errors that point at the user's line.

use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemTrait, Lit, LitStr, Meta, Pat,
    PathArguments, Result, ReturnType, Token, TraitItem, TraitItemFn, Type, Visibility,
};

/// What stands in the attribute's brackets.
pub(crate) struct Options {
    name: Option<LitStr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { name: None });
        }
        let word: Ident = input.parse()?;
        if word != "name" {
            return Err(Error::new(word.span(), "there is only `name = \"...\"`"));
        }
        input.parse::<Token![=]>()?;
        let name: LitStr = input.parse()?;
        if !input.is_empty() {
            return Err(input.error("nothing comes behind the name"));
        }
        Ok(Self { name: Some(name) })
    }
}

/// The most bytes of an interface's or a method's name.
const NAME: usize = 255;

/// A trait that is an interface.
pub(crate) struct Interface {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    pub(crate) name: String,
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
    pub(crate) output: Type,
    /// The value and the error, where the output is a `Result`.
    pub(crate) result: Option<(Type, Type)>,
    pub(crate) idempotent: bool,
    pub(crate) one_way: bool,
}

impl Interface {
    pub(crate) fn parse(options: Options, item: ItemTrait) -> Result<Self> {
        if let Some(parameter) = item.generics.params.first() {
            return Err(Error::new(parameter.span(), "an interface has no type parameters"));
        }
        if let Some(bound) = item.supertraits.first() {
            return Err(Error::new(bound.span(), "an interface has no traits above it"));
        }
        let (name, span) = match options.name {
            Some(name) => (name.value(), name.span()),
            None => (item.ident.to_string(), item.ident.span()),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        if name.is_empty() || name.len() > NAME || !name.chars().all(fits) {
            let most = format!("a name is of 1 to {NAME} letters, digits, and `_-.$`");
            return Err(Error::new(span, most));
        }
        let mut methods: Vec<Method> = Vec::new();
        let mut errors: Option<Error> = None;
        for item in item.items {
            let method = match item {
                TraitItem::Fn(item) => Method::parse(item),
                other => Err(Error::new(other.span(), "an interface has methods and nothing else")),
            };
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
                methods,
            }),
        }
    }
}

impl Method {
    fn parse(item: TraitItemFn) -> Result<Self> {
        let TraitItemFn { mut attrs, sig, default, .. } = item;
        if sig.asyncness.is_none() {
            return Err(Error::new(sig.fn_token.span(), "a method of an interface is `async fn`"));
        }
        if let Some(body) = default {
            return Err(Error::new(body.span(), "a method of an interface has no body"));
        }
        if let Some(parameter) = sig.generics.params.first() {
            return Err(Error::new(parameter.span(), "a method of an interface has no type parameters"));
        }
        let mut inputs = sig.inputs.into_iter();
        match inputs.next() {
            Some(FnArg::Receiver(it)) if it.reference.is_some() && it.mutability.is_none() => {}
            Some(other) => return Err(Error::new(other.span(), "the first parameter is `&self`")),
            None => return Err(Error::new(sig.ident.span(), "the first parameter is `&self`")),
        }
        let mut context = None;
        let mut arguments = Vec::new();
        for (index, input) in inputs.enumerate() {
            let FnArg::Typed(input) = input else { continue };
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(Error::new(input.pat.span(), "an argument has a plain name: it travels by it"));
            };
            if let Type::Reference(reference) = &*input.ty {
                return Err(Error::new(
                    reference.span(),
                    "an argument is of a type that owns what it has: it crosses the network",
                ));
            }
            if index == 0 && last_segment(&input.ty).is_some_and(|segment| segment.ident == "Context") {
                context = Some((pattern.ident.clone(), *input.ty));
            } else {
                arguments.push((pattern.ident.clone(), *input.ty));
            }
        }
        let output = match sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => *ty,
        };
        let idempotent = take_mark(&mut attrs, "idempotent")?;
        let one_way = take_mark(&mut attrs, "one_way")?;
        if one_way && !matches!(&output, Type::Tuple(tuple) if tuple.elems.is_empty()) {
            return Err(Error::new(output.span(), "nobody waits for what a one-way method returns"));
        }
        let result = value_and_error(&output);
        let docs = docs(&attrs);
        let ident = sig.ident;
        Ok(Self { attributes: attrs, ident, docs, context, arguments, output, result, idempotent, one_way })
    }
}

/// Takes a mark of ours from among the attributes.
fn take_mark(attributes: &mut Vec<Attribute>, name: &str) -> Result<bool> {
    let Some(at) = attributes.iter().position(|attribute| attribute.path().is_ident(name)) else {
        return Ok(false);
    };
    let mark = attributes.remove(at);
    match mark.meta {
        Meta::Path(_) => Ok(true),
        other => Err(Error::new(other.span(), format!("`#[{name}]` has nothing in brackets"))),
    }
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

/// The two types of a `Result`.
fn value_and_error(output: &Type) -> Option<(Type, Type)> {
    let segment = last_segment(output).filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some((types.next()?, types.next()?))
}
