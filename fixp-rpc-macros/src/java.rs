//! What an interface needs that the two programs call, too: its methods by Java's names and types.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Error, Result};

use crate::expand::{at, on, parameters, plain, returned};
use crate::parse::{Interface, Method};

/// That a method can be Java's beside those before it.
pub(crate) fn fits(others: &[Method], method: Method) -> Result<Method> {
    if method.streams() {
        return Err(Error::new_spanned(method.ident, "a method of a Java interface has no streams"));
    }
    if others.iter().any(|other| camel(other) == camel(&method)) {
        return Err(Error::new_spanned(&method.ident, "another method has this name in Java"));
    }
    Ok(method)
}

/// A method's name in Java: `currentTime` for `current_time`.
fn camel(method: &Method) -> String {
    let name = plain(&method.ident);
    let mut parts = name.split('_').filter(|part| !part.is_empty());
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let made = [visit(interface), client(interface)];
    quote!(#(#made)*)
}

/// The service, for the programs' calls.
fn visit(interface: &Interface) -> TokenStream {
    let Interface { ident, methods, .. } = interface;
    let service = format_ident!("{ident}Service");
    let signatures = methods.iter().map(|method| {
        let (_, types) = parameters(&method.arguments);
        let name = camel(method);
        quote_spanned! {at(method)=>
            ::fixp_rpc::legacy::Signature::new(#name, [#(<#types as ::fixp_rpc::legacy::Java>::ty()),*])
        }
    });
    let arms = methods.iter().map(|method| {
        let Method { ident: called, context, arguments, .. } = method;
        let (names, types) = parameters(arguments);
        let names = names.into_iter().map(plain);
        let name = camel(method);
        let context = context.as_ref().map(|(_, ty)| quote_spanned!(on(ty)=> context,));
        let wrap = match method.result {
            Some(_) => quote_spanned!(at(method)=> result),
            None => quote_spanned!(at(method)=> value),
        };
        quote_spanned! {at(method)=>
            #name => {
                let returned = #ident::#called(
                    &*self.inner,
                    #context
                    #(::fixp_rpc::legacy::made::argument::<#types>(params.next(), #names)?),*
                ).await;
                ::fixp_rpc::legacy::made::#wrap(returned)
            }
        }
    });
    quote! {
        impl<FixpRpcServed: #ident> ::fixp_rpc::legacy::Visit for #service<FixpRpcServed> {
            fn methods(&self) -> ::std::vec::Vec<::fixp_rpc::legacy::Signature> {
                ::std::vec![#(#signatures),*]
            }

            #[allow(unused_variables, unused_mut, reason = "few methods have a context, some no arguments")]
            async fn invoke(
                &self,
                context: ::fixp_rpc::Context,
                method: &::fixp_rpc::legacy::Signature,
                params: ::std::vec::Vec<::fixp_rpc::legacy::made::Value>,
            ) -> ::core::result::Result<
                ::fixp_rpc::legacy::made::Value,
                ::fixp_rpc::legacy::made::Throwable,
            > {
                let mut params = params.into_iter();
                match method.name() {
                    #(#arms)*
                    other => ::core::result::Result::Err(::fixp_rpc::legacy::made::no_method(other)),
                }
            }
        }
    }
}

/// A client of a program's methods.
fn client(interface: &Interface) -> TokenStream {
    let Interface { visibility, ident, name, methods, .. } = interface;
    let client = format_ident!("{ident}JavaClient");
    let about = format!("Calls the methods of [`{ident}`] at a program.");
    let methods = methods.iter().map(|method| {
        let Method { attributes, ident, arguments, .. } = method;
        let (names, types) = parameters(arguments);
        let (value, _) = returned(method);
        let called = camel(method);
        quote_spanned! {at(method)=>
            #(#attributes)*
            ///
            /// # Errors
            ///
            /// What was thrown, or why there is no answer.
            pub async fn #ident(&self #(, #names: #types)*)
                -> ::core::result::Result<#value, ::fixp_rpc::legacy::Failure>
            {
                let call = ::fixp_rpc::legacy::made::Call::new(#name, #called)
                    #(.with(
                        <#types as ::fixp_rpc::legacy::Java>::ty(),
                        <#types as ::fixp_rpc::legacy::Java>::into_value(#names),
                    ))*;
                self.client.call_typed::<#value>(&call).await
            }
        }
    });
    quote! {
        #[doc = #about]
        #[derive(Clone, Debug)]
        #visibility struct #client {
            client: ::fixp_rpc::legacy::Client,
        }

        #[allow(clippy::too_many_arguments, dead_code, reason = "not every interface is called from here")]
        impl #client {
            /// Its methods, where this client's calls go.
            #[must_use]
            pub const fn new(client: ::fixp_rpc::legacy::Client) -> Self {
                Self { client }
            }

            #(#methods)*
        }
    }
}
