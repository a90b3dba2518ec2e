//! From what is wanted to the code: the trait, its client, its service.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use crate::java;
use crate::parse::{Gives, Interface, Method};

pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let made = [as_trait(interface), client(interface), service(interface)];
    let java = interface.java.then(|| java::expand(interface));
    quote!(#(#made)* #java)
}

/// The trait itself, whose futures can be sent to other threads.
fn as_trait(interface: &Interface) -> TokenStream {
    let Interface { attributes, visibility, ident, methods, .. } = interface;
    let signatures = methods.iter().map(|method| {
        let Method { ident, context, arguments, body, output, .. } = method;
        let (names, types) = parameters(context.iter().chain(arguments).chain(body));
        quote_spanned! {at(method)=>
            fn #ident(&self #(, #names: #types)*)
                -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
        }
    });
    let shared = signatures.clone().zip(methods).map(|(signature, method)| {
        let Method { ident: name, context, arguments, body, .. } = method;
        let (names, _) = parameters(context.iter().chain(arguments).chain(body));
        quote!(#signature { <FixpRpcServed as #ident>::#name(self #(, #names)*) })
    });
    let documented = signatures.zip(methods).map(|(signature, method)| {
        let attributes = &method.attributes;
        quote!(#(#attributes)* #signature;)
    });
    quote! {
        #(#attributes)*
        #visibility trait #ident: ::core::marker::Send + ::core::marker::Sync + 'static {
            #(#documented)*
        }

        impl<FixpRpcServed: #ident> #ident for ::std::sync::Arc<FixpRpcServed> {
            #(#shared)*
        }
    }
}

fn client(interface: &Interface) -> TokenStream {
    let Interface { visibility, ident, name, docs, methods, .. } = interface;
    let client = format_ident!("{ident}Client");
    let about = format!("Calls the methods of [`{ident}`] at a server.");
    let rows = methods.iter().map(|method| row(name, method));
    let calls = format_ident!("{ident}Calls");
    let about_calls = format!("Prepares calls of the methods of [`{ident}`], for a batch.");
    let prepared = methods.iter().enumerate().filter(|(_, method)| !method.streams()).map(|(index, method)| {
        let Method { attributes, ident, arguments, .. } = method;
        let (names, types) = parameters(arguments);
        let (value, error) = returned(method);
        let written = arguments_of(method, "Serialize");
        quote_spanned! {at(method)=>
            #(#attributes)*
            #[must_use]
            pub fn #ident(&self #(, #names: #types)*) -> ::fixp_rpc::Prepared<#value, #error> {
                #written
                self.client.prepare(&#client::INTERFACE.methods[#index], &FixpRpcArguments { #(#names),* })
            }
        }
    });
    let methods = methods.iter().enumerate().map(|(index, method)| {
        let Method { attributes, ident, arguments, body, .. } = method;
        let (names, _) = parameters(arguments);
        let (every, types) = parameters(arguments.iter().chain(body));
        let (value, error) = returned(method);
        let written = arguments_of(method, "Serialize");
        let row = quote!(&Self::INTERFACE.methods[#index]);
        let given = quote!(&FixpRpcArguments { #(#names),* });
        let call = if method.streams() {
            let body = match body {
                Some((body, _)) => quote!(#body),
                None => quote!(::fixp_rpc::made::no_body()),
            };
            let (beside, picked) = match &method.gives {
                Gives::Value => (quote!(#value), quote!(.map(|(value, _)| value))),
                Gives::Stream => (quote!(()), quote!(.map(|((), body)| body))),
                Gives::Both(beside) => (quote!(#beside), quote!()),
            };
            quote_spanned! {at(method)=>
                self.client.stream::<_, #beside, #error>(#row, #given, #body).await #picked
            }
        } else {
            quote_spanned!(at(method)=> self.client.call::<_, #value, #error>(#row, #given).await)
        };
        quote_spanned! {at(method)=>
            #(#attributes)*
            ///
            /// # Errors
            ///
            /// The method's own, or why there is no result.
            pub async fn #ident(&self #(, #every: #types)*)
                -> ::core::result::Result<#value, ::fixp_rpc::Failure<#error>>
            {
                #written
                #call
            }
        }
    });
    quote! {
        #[doc = #about]
        #[derive(Clone, Debug)]
        #visibility struct #client {
            client: ::fixp_rpc::Client,
        }

        #[allow(clippy::too_many_arguments)]
        impl #client {
            /// What the interface is made of.
            pub const INTERFACE: ::fixp_rpc::Interface = ::fixp_rpc::Interface {
                name: #name,
                docs: #docs,
                methods: &[#(#rows),*],
            };

            /// Its methods, where this client's calls go.
            #[must_use]
            pub const fn new(client: ::fixp_rpc::Client) -> Self {
                Self { client }
            }

            /// Its methods, to be called together by [`Client::batch`](::fixp_rpc::Client::batch).
            #[must_use]
            pub fn calls(&self) -> #calls {
                #calls { client: ::core::clone::Clone::clone(&self.client) }
            }

            #(#methods)*
        }

        #[doc = #about_calls]
        #[derive(Clone, Debug)]
        #visibility struct #calls {
            client: ::fixp_rpc::Client,
        }

        #[allow(clippy::too_many_arguments, dead_code, reason = "few are called together")]
        impl #calls {
            #(#prepared)*
        }
    }
}

/// A method as data.
fn row(interface: &str, method: &Method) -> TokenStream {
    let Method { ident, docs, arguments, body, idempotent, one_way, .. } = method;
    let name = plain(ident);
    let path = format!("{interface}.{name}");
    let arguments = arguments.iter().chain(body).map(|(ident, ty)| {
        let (name, ty) = (plain(ident), text(ty));
        quote!(::fixp_rpc::interface::Argument { name: #name, ty: #ty })
    });
    let (value, error) = match &method.result {
        Some((value, error)) => (text(value), text(error)),
        None => (text(&method.output), "Never".to_owned()),
    };
    quote! {
        ::fixp_rpc::interface::Method {
            name: #name,
            path: #path,
            docs: #docs,
            arguments: &[#(#arguments),*],
            returns: #value,
            fails: #error,
            idempotent: #idempotent,
            one_way: #one_way,
        }
    }
}

fn service(interface: &Interface) -> TokenStream {
    let Interface { visibility, ident, methods, .. } = interface;
    let service = format_ident!("{ident}Service");
    let client = format_ident!("{ident}Client");
    let about = format!("Serves the methods of [`{ident}`].");
    let arms = methods.iter().enumerate().map(|(index, method)| {
        let Method { ident: name, context, arguments, body, .. } = method;
        let (names, _) = parameters(arguments);
        let taken = body.as_ref().map(|_| quote!(call.take_body()));
        let taking = body.as_ref().map(|_| quote!(let mut call = call;));
        let read = arguments_of(method, "Deserialize");
        // Where its type is another of this name, that is the place to say so.
        let context = context.as_ref().map(|(_, ty)| quote_spanned!(on(ty)=> call.context,));
        let (value, error) = returned(method);
        let format = quote!(call.format());
        let wrap = match (&method.gives, &method.result) {
            (Gives::Value, Some(_)) => {
                quote_spanned!(at(method)=> result::<#value, #error>(#format, &returned))
            }
            (Gives::Value, None) => quote_spanned!(at(method)=> value::<#value>(#format, &returned)),
            (Gives::Stream, result) => {
                let returned = match result {
                    Some(_) => quote!(returned.map(|body| ((), body))),
                    None => quote!(::core::result::Result::Ok(((), returned))),
                };
                quote_spanned!(at(method)=> stream::<(), #error>(#format, #returned))
            }
            (Gives::Both(beside), result) => {
                let returned = match result {
                    Some(_) => quote!(returned),
                    None => quote!(::core::result::Result::Ok(returned)),
                };
                quote_spanned!(at(method)=> stream::<#beside, #error>(#format, #returned))
            }
        };
        quote_spanned! {at(method)=>
            #index => ::std::boxed::Box::pin(async move {
                #taking
                #read
                match call.arguments::<FixpRpcArguments>() {
                    // Their names are the author's, and would hide ours.
                    ::core::result::Result::Ok(arguments) => {
                        let returned = #ident::#name(&*inner, #context #(arguments.#names,)* #taken).await;
                        ::fixp_rpc::Returned::#wrap
                    }
                    ::core::result::Result::Err(returned) => returned,
                }
            }),
        }
    });
    quote! {
        #[doc = #about]
        #visibility struct #service<FixpRpcServed> {
            inner: ::std::sync::Arc<FixpRpcServed>,
        }

        impl<FixpRpcServed: #ident> #service<FixpRpcServed> {
            /// Serves what implements them.
            #[must_use]
            pub fn new(inner: FixpRpcServed) -> Self {
                Self { inner: ::std::sync::Arc::new(inner) }
            }
        }

        impl<FixpRpcServed> ::core::fmt::Debug for #service<FixpRpcServed> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(::core::stringify!(#service)).finish_non_exhaustive()
            }
        }

        impl<FixpRpcServed: #ident> ::fixp_rpc::Service for #service<FixpRpcServed> {
            fn interface(&self) -> &'static ::fixp_rpc::Interface {
                &#client::INTERFACE
            }

            fn run(&self, method: usize, call: ::fixp_rpc::Call) -> ::fixp_rpc::Running {
                let inner = ::core::clone::Clone::clone(&self.inner);
                match method {
                    #(#arms)*
                    _ => ::std::boxed::Box::pin(::core::future::ready(::fixp_rpc::Returned::no_method())),
                }
            }
        }
    }
}

/// Where what is made of a method stands: so what the compiler says of it points at the method.
pub(crate) fn at(method: &Method) -> Span {
    Span::call_site().located_at(method.ident.span())
}

/// Where what is made of a type stands.
pub(crate) fn on(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}

/// The arguments of a method as one value: by their names in JSON and CBOR, one after the other in postcard.
fn arguments_of(method: &Method, derive: &str) -> TokenStream {
    let (names, types) = parameters(&method.arguments);
    let derive = syn::Ident::new(derive, at(method));
    quote_spanned! {at(method)=>
        #[derive(::fixp_rpc::made::serde::#derive)]
        #[serde(crate = "::fixp_rpc::made::serde", expecting = "arguments")]
        struct FixpRpcArguments {
            #(#names: #types,)*
        }
    }
}

/// The value and the error of a method's result.
pub(crate) fn returned(method: &Method) -> (TokenStream, TokenStream) {
    match &method.result {
        Some((value, error)) => (quote!(#value), quote!(#error)),
        None => {
            let output = &method.output;
            (quote!(#output), quote!(::fixp_rpc::Never))
        }
    }
}

pub(crate) fn parameters<'a>(
    parameters: impl IntoIterator<Item = &'a (syn::Ident, Type)>,
) -> (Vec<&'a syn::Ident>, Vec<&'a Type>) {
    parameters.into_iter().map(|(name, ty)| (name, ty)).unzip()
}

/// A name without the `r#` that Rust may want.
pub(crate) fn plain(ident: &syn::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// A type as its author writes it, without the spaces between tokens.
fn text(ty: &Type) -> String {
    let mut text = quote!(#ty).to_string();
    for (spaced, close) in
        [(" :: ", "::"), (" < ", "<"), (" >", ">"), ("< ", "<"), (" ,", ","), ("( ", "("), (" )", ")")]
    {
        text = text.replace(spaced, close);
    }
    text
}
