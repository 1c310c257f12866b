//! The attribute macro of `outrigger-handler`. Use that crate: it exports this one.

use proc_macro::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, ReturnType, Type};

/// Makes a function the handler of its crate; documented in `outrigger-handler`.
#[proc_macro_attribute]
pub fn handler(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let attribute = proc_macro2::TokenStream::from(attribute);
    let function = syn::parse_macro_input!(item as ItemFn);
    match expand(&attribute, &function) {
        Ok(generated) => quote!(#function #generated).into(),
        // The function stays, so that its callers do not fail as well.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#function #error).into()
        }
    }
}

/// What stands beside the function: its type, and on WebAssembly the export.
fn expand(attribute: &proc_macro2::TokenStream, function: &ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    check(attribute, function)?;
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let doc = format!("The handler [`{name}`](fn@{name}).");

    let arguments: Vec<_> = function
        .sig
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| Ok((format_ident!("argument{index}"), argument_type(input)?)))
        .collect::<syn::Result<_>>()?;
    let names = arguments.iter().map(|(name, _)| name);
    // With the span of the argument's type, an unsuitable one is underlined itself.
    let lets = arguments.iter().map(|(name, ty)| {
        quote_spanned! {ty.span()=>
            let #name = <#ty as ::outrigger_handler::FromCall<'_>>::from_call(event, delivery)?;
        }
    });
    let returned = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    let returned_span = match &function.sig.output {
        ReturnType::Default => name.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let call = quote!(#name(#(#names),*));
    let outcome = quote_spanned! {returned_span=>
        ::outrigger_handler::__private::outcome::<#returned>(result, delivery)
    };

    Ok(quote! {
        #[doc = #doc]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        impl ::outrigger_handler::Handler for #name {
            #[allow(clippy::let_unit_value)]
            fn handle(
                event: &::outrigger_handler::Event,
                delivery: &::outrigger_handler::Delivery,
            ) -> ::core::result::Result<::std::vec::Vec<::outrigger_handler::Output>, ::outrigger_handler::Failure> {
                #(#lets)*
                let result = #call;
                #outcome
            }
        }

        // A handler is in use, although on the build machine nothing may call it.
        const _: fn(
            &::outrigger_handler::Event,
            &::outrigger_handler::Delivery,
        ) -> ::core::result::Result<::std::vec::Vec<::outrigger_handler::Output>, ::outrigger_handler::Failure> =
            <#name as ::outrigger_handler::Handler>::handle;

        #[cfg(target_arch = "wasm32")]
        ::outrigger_handler::__private::bindings::export!(#name with_types_in ::outrigger_handler::__private::bindings);
    })
}

/// Refuses what cannot be called with one event.
fn check(attribute: &proc_macro2::TokenStream, function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if !attribute.is_empty() {
        return Err(Error::new_spanned(
            attribute,
            "#[handler] takes no arguments: the manifest says what a handler gets",
        ));
    }
    if let Some(token) = &signature.asyncness {
        return Err(Error::new_spanned(token, "a handler is not async: the host runs many of them at once"));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new_spanned(token, "a handler is not unsafe: the host calls it with any event"));
    }
    if let Some(parameter) = signature.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a handler has no generic parameters; write a borrowing type as `Json<Order<'_>>`",
        ));
    }
    Ok(())
}

/// The type of an argument, where it is one that can be written down.
fn argument_type(input: &FnArg) -> syn::Result<&Type> {
    match input {
        FnArg::Receiver(token) => Err(Error::new_spanned(token, "a handler is a function, not a method")),
        FnArg::Typed(argument) => match &*argument.ty {
            Type::ImplTrait(ty) => Err(Error::new_spanned(ty, "an argument of a handler has a type, not a trait")),
            ty => Ok(ty),
        },
    }
}
