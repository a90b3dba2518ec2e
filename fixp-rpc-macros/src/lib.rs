//! The attribute that makes a remote interface of a trait: see `fixp-rpc`, where it is exported.

mod expand;
mod java;
mod parse;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a remote interface of a trait of async functions.
///
/// Of `trait Clock` it makes `ClockClient`, which has the same methods, each with a `Failure` around its error; and
/// `ClockService`, by which whatever implements `Clock` is served. The interface is named after the trait, or as
/// `#[service(name = "...")]` says.
///
/// `#[service(java = "com.example.ClockVisit")]` names it after a Java interface, and makes what the two programs'
/// calls need as well (the features `lexst1` and `laxcus6` of `fixp-rpc`): `ClockService` is a `legacy::Visit`, too,
/// and `ClockJavaClient` calls a program's methods. A method's name is written as Java has it, `currentTime` for
/// `current_time`; arguments and results are of types that are `legacy::Java`, errors `legacy::Exception`; there are
/// no streams.
///
/// A method takes `&self` and arguments that serde can write and read, by value. It returns such a value, or a
/// `Result` of it and of an error of the user's own. A first parameter of type `Context` is not an argument: it
/// tells the method who calls and until when. Above a method may stand
///
/// - `#[idempotent]`: calling it twice does no more than calling it once, so that it is sent again where nobody knows
///   whether it was executed;
/// - `#[one_way]`: its caller does not wait for its end, only for the server's word that it was taken. It returns
///   nothing.
///
/// A last parameter of type `Body` is a stream to the method; a result that is a `Body`, or a pair of a value and a
/// `Body`, in a `Result` or not, is a stream from it. Methods without streams are in `ClockCalls` too, which
/// `ClockClient::calls` gives, to be prepared for a batch.
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as parse::Options);
    let item = parse_macro_input!(item as syn::Item);
    match parse::Interface::parse(options, item) {
        Ok(interface) => expand::expand(&interface).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
