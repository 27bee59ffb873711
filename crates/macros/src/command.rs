//! `#[command]`.

use crate::qapi::kebab;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, Ident, ItemFn, LitStr, Pat, PathArguments, Result, ReturnType, Token, Type,
};
use syn::{meta::ParseNestedMeta, punctuated::Punctuated};

/// What stands behind `#[command`.
#[derive(Default)]
pub struct Options {
    name: Option<LitStr>,
    oob: bool,
    boxed: bool,
    features: Vec<LitStr>,
    /// Names, parameters and help for people.
    hmp: Option<(LitStr, LitStr, LitStr)>,
}

impl Options {
    pub fn parse(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let literals = |meta: &ParseNestedMeta<'_>| -> Result<Vec<LitStr>> {
            let content;
            syn::parenthesized!(content in meta.input);
            Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
        };
        match meta.path.get_ident().map(ToString::to_string).unwrap_or_default().as_str() {
            "name" => self.name = Some(meta.value()?.parse()?),
            "oob" => self.oob = true,
            "boxed" => self.boxed = true,
            "features" => self.features = literals(meta)?,
            "hmp" => match <[LitStr; 3]>::try_from(literals(meta)?) {
                Ok([names, params, help]) => self.hmp = Some((names, params, help)),
                Err(_) => return Err(meta.error("expected hmp(\"names\", \"parameters\", \"help\")")),
            },
            _ => return Err(meta.error("expected name, oob, boxed, features or hmp")),
        }
        Ok(())
    }
}

/// An argument: its name in the protocol, its variable, its type.
struct Argument {
    name: String,
    ident: Ident,
    ty: Type,
}

pub fn expand(options: &Options, mut function: ItemFn) -> Result<TokenStream> {
    let mut arguments = Vec::new();
    for input in function.sig.inputs.iter_mut().skip(1) {
        let FnArg::Typed(typed) = input else {
            return Err(Error::new(input.span(), "a command is no method"));
        };
        let Pat::Ident(pat) = &*typed.pat else {
            return Err(Error::new(typed.pat.span(), "arguments have names"));
        };
        let mut name = kebab(&pat.ident).trim_start_matches('-').to_owned();
        for attr in typed.attrs.iter().filter(|a| a.path().is_ident("name")) {
            name = attr.parse_args::<LitStr>()?.value();
        }
        arguments.push(Argument { name, ident: pat.ident.clone(), ty: (*typed.ty).clone() });
        typed.attrs.retain(|a| !a.path().is_ident("name"));
    }
    let ident = &function.sig.ident;
    let name = options.name.as_ref().map_or_else(|| kebab(ident), LitStr::value);
    let result = result_type(&function.sig.output)?;
    let (idents, names): (Vec<_>, Vec<_>) = arguments.iter().map(|a| (&a.ident, &a.name)).unzip();
    let types: Vec<_> = arguments.iter().map(|a| &a.ty).collect();
    let (takes, described) = if options.boxed {
        let (one, ty) = match (idents.first(), types.first()) {
            (Some(one), Some(ty)) => (one, ty),
            _ => return Err(Error::new(function.sig.span(), "a boxed command has one argument")),
        };
        (
            quote! { let #one = <#ty as ::qapi::Object>::take_from(&mut arguments, "")?; },
            quote! { <#ty as ::qapi::Qapi>::describe(schema) },
        )
    } else if arguments.is_empty() {
        (quote! {}, quote! { schema.empty() })
    } else {
        (
            quote! { #(let #idents = ::qapi::take::<#types>(&mut arguments, "", #names)?;)* },
            quote! { schema.object(::core::concat!("command ", #name), |schema, members| {
                #(members.add::<#types>(schema, #names);)*
            }) },
        )
    };
    let call = quote! { #ident(context #(, #idents)*) };
    let hmp = hmp(options, &call, &idents, &types, &names);
    let (visibility, oob, features) = (&function.vis, options.oob, &options.features);
    let constant = format_ident!("{}", ident.to_string().to_uppercase());
    let doc = format!("The command `{name}`: [`{ident}`].");
    Ok(quote! {
        #function
        #[doc = #doc]
        #visibility const #constant: ::monitor::Command = ::monitor::Command {
            name: #name,
            oob: #oob,
            run: |context, #[allow(unused_mut)] mut arguments| {
                #takes
                ::qapi::finish(&arguments, "")?;
                #[allow(clippy::let_unit_value)]
                let result: #result = #call?;
                Ok(::qapi::Qapi::to_json(&result))
            },
            describe: |schema| {
                let arguments = #described;
                let result = <#result as ::qapi::Qapi>::describe(schema);
                schema.command(#name, &arguments, &result, #oob, &[#(#features),*]);
            },
            hmp: #hmp,
        };
    })
}

/// The row for people: arguments are read from the line by their types.
fn hmp(
    options: &Options,
    call: &TokenStream,
    idents: &[&Ident],
    types: &[&Type],
    names: &[&String],
) -> TokenStream {
    let Some((words, params, help)) = &options.hmp else { return quote! { ::core::option::Option::None } };
    quote! {
        ::core::option::Option::Some(::monitor::hmp::Command {
            names: #words,
            params: #params,
            help: #help,
            run: |context, #[allow(unused_variables)] arguments| {
                #(let #idents = ::monitor::hmp::argument::<#types>(arguments, #names)?;)*
                arguments.finish()?;
                let result = #call.map_err(::monitor::hmp::refused)?;
                context.show(&::qapi::Qapi::to_json(&result));
                Ok(())
            },
        })
    }
}

/// `T` of `Result<T>`.
fn result_type(output: &ReturnType) -> Result<Type> {
    if let ReturnType::Type(_, ty) = output
        && let Type::Path(path) = &**ty
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Type(ty)) = arguments.args.first()
    {
        return Ok(ty.clone());
    }
    Err(Error::new(output.span(), "a command returns Result<T>"))
}
