//! `derive(State)`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{
    Data, DataEnum, DataStruct, DeriveInput, Error, Expr, Fields, Index, LitInt, LitStr, Member, Result,
};

#[derive(Default)]
struct TypeOptions {
    name: Option<LitStr>,
    version: Option<LitInt>,
    minimum: Option<LitInt>,
    post_load: Option<Expr>,
    transparent: bool,
}

#[derive(Default)]
struct FieldOptions {
    since: Option<LitInt>,
    subsection: Option<LitStr>,
    needed: Option<Expr>,
    skip: Option<LitStr>,
}

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let options = type_options(input)?;
    match &input.data {
        Data::Struct(data) if options.transparent => transparent(input, data),
        Data::Struct(data) => structure(input, data, &options),
        Data::Enum(data) => enumeration(input, data),
        Data::Union(_) => Err(Error::new(input.span(), "a union cannot be saved")),
    }
}

fn type_options(input: &DeriveInput) -> Result<TypeOptions> {
    let mut options = TypeOptions::default();
    for attr in input.attrs.iter().filter(|a| a.path().is_ident("state")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                options.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("version") {
                options.version = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("minimum") {
                options.minimum = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("post_load") {
                options.post_load = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("transparent") {
                options.transparent = true;
            } else {
                return Err(meta.error("expected name, version, minimum, post_load or transparent"));
            }
            Ok(())
        })?;
    }
    Ok(options)
}

fn field_options(field: &syn::Field) -> Result<FieldOptions> {
    let mut options = FieldOptions::default();
    for attr in field.attrs.iter().filter(|a| a.path().is_ident("state")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("since") {
                options.since = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("subsection") {
                options.subsection = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("needed") {
                options.needed = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("skip") {
                let reason: LitStr = meta.value()?.parse()?;
                if reason.value().trim().is_empty() {
                    return Err(Error::new(reason.span(), "say why the field is not saved"));
                }
                options.skip = Some(reason);
            } else {
                return Err(meta.error("expected since, subsection, needed or skip"));
            }
            Ok(())
        })?;
    }
    if options.subsection.is_some() && options.since.is_some() {
        return Err(Error::new(field.span(), "a subsection has no version: it is there or not"));
    }
    if options.needed.is_some() && options.subsection.is_none() {
        return Err(Error::new(field.span(), "`needed` belongs to a subsection"));
    }
    if options.skip.is_some() && (options.subsection.is_some() || options.since.is_some()) {
        return Err(Error::new(field.span(), "a skipped field has no version or subsection"));
    }
    Ok(options)
}

fn transparent(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let mut fields = data.fields.iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Error::new(input.span(), "a transparent type has exactly one field"));
    };
    let member = member(field, 0);
    let ty = &field.ty;
    let name = &input.ident;
    let (generics, args, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::state::Field for #name #args #bounds {
            fn save_field(&self, out: &mut ::state::Saver) {
                ::state::Field::save_field(&self.#member, out)
            }
            fn load_field(&mut self, from: &mut ::state::Loader<'_>) -> ::core::result::Result<(), ::state::StateError> {
                ::state::Field::load_field(&mut self.#member, from)
            }
            fn field_type() -> ::state::FieldType {
                <#ty as ::state::Field>::field_type()
            }
        }
    })
}

fn member(field: &syn::Field, position: usize) -> Member {
    match &field.ident {
        Some(ident) => Member::Named(ident.clone()),
        None => Member::Unnamed(Index::from(position)),
    }
}

fn member_name(member: &Member) -> String {
    match member {
        Member::Named(ident) => ident.to_string().trim_start_matches("r#").to_owned(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

/// Fields that share one subsection, in the order of the struct.
struct Subsection {
    name: LitStr,
    needed: Option<Expr>,
    members: Vec<(Member, syn::Type)>,
}

fn structure(input: &DeriveInput, data: &DataStruct, options: &TypeOptions) -> Result<TokenStream> {
    let ident = &input.ident;
    let (generics, args, bounds) = input.generics.split_for_impl();
    let name = options.name.as_ref().map_or_else(|| ident.to_string(), LitStr::value);
    let version: u32 = options.version.as_ref().map_or(Ok(1), LitInt::base10_parse)?;
    let minimum: u32 = options.minimum.as_ref().map_or(Ok(version), LitInt::base10_parse)?;
    if minimum > version {
        return Err(Error::new(input.span(), "the minimum version is above the version"));
    }
    let (mut save, mut load, mut describe) = (Vec::new(), Vec::new(), Vec::new());
    let mut subsections: Vec<Subsection> = Vec::new();
    for (position, field) in data.fields.iter().enumerate() {
        let options = field_options(field)?;
        let member = member(field, position);
        let text = member_name(&member);
        let ty = &field.ty;
        if options.skip.is_some() {
            continue;
        }
        if let Some(name) = options.subsection {
            match subsections.iter_mut().find(|s| s.name.value() == name.value()) {
                Some(known) => {
                    known.members.push((member, ty.clone()));
                    known.needed = known.needed.take().or(options.needed);
                }
                None => subsections.push(Subsection {
                    name,
                    needed: options.needed,
                    members: vec![(member, ty.clone())],
                }),
            }
            continue;
        }
        let since: u32 = options.since.as_ref().map_or(Ok(0), LitInt::base10_parse)?;
        if since > version {
            return Err(Error::new(field.span(), "the field is newer than the version of its type"));
        }
        save.push(quote! { ::state::Field::save_field(&self.#member, out); });
        load.push(quote! { from.field(#text, #since, &mut self.#member)?; });
        describe.push(quote! { d.field(#text, #since, <#ty as ::state::Field>::field_type()); });
    }
    let (mut sub_save, mut sub_load) = (Vec::new(), Vec::new());
    for subsection in &subsections {
        let name = &subsection.name;
        let needed = match &subsection.needed {
            Some(path) => quote! { (#path)(self) },
            None => return Err(Error::new(name.span(), "say when the subsection is `needed`")),
        };
        let members: Vec<_> = subsection.members.iter().map(|m| &m.0).collect();
        let texts: Vec<_> = members.iter().map(|m| member_name(m)).collect();
        let types = subsection.members.iter().map(|m| &m.1);
        sub_save.push(quote! {
            if #needed {
                subsections.add(#name, |out| { #(::state::Field::save_field(&self.#members, out);)* });
            }
        });
        sub_load.push(quote! { #name => { #(from.field(#texts, 0, &mut self.#members)?;)* } });
        describe.push(
            quote! { d.subsection(#name, &[#((#texts, <#types as ::state::Field>::field_type())),*]); },
        );
    }
    let post_load = options.post_load.as_ref().map(|path| {
        quote! {
            let version = from.version();
            (#path)(self, version).map_err(|e| from.refused(e))?;
        }
    });
    let subsections_out = if sub_save.is_empty() { quote!(out) } else { quote!(mut subsections) };
    let subsections_out = if sub_save.is_empty() {
        quote! { out.no_subsections(); }
    } else {
        quote! { let #subsections_out = out.subsections(); #(#sub_save)* subsections.end(); }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::state::State for #ident #args #bounds {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const MINIMUM_VERSION: u32 = #minimum;
            fn save(&self, out: &mut ::state::Saver) {
                #(#save)*
                #subsections_out
            }
            fn load(&mut self, from: &mut ::state::Loader<'_>) -> ::core::result::Result<(), ::state::StateError> {
                #(#load)*
                from.subsections(|name, from| {
                    match name {
                        #(#sub_load)*
                        _ => return Err(from.unknown_subsection(name)),
                    }
                    #[allow(unreachable_code)]
                    Ok(())
                })?;
                #post_load
                Ok(())
            }
            fn describe(d: &mut ::state::Description) {
                #(#describe)*
            }
        }
        #[automatically_derived]
        impl #generics ::state::Field for #ident #args #bounds {
            fn save_field(&self, out: &mut ::state::Saver) {
                out.nested(self)
            }
            fn load_field(&mut self, from: &mut ::state::Loader<'_>) -> ::core::result::Result<(), ::state::StateError> {
                from.nested(self)
            }
            fn field_type() -> ::state::FieldType {
                ::state::FieldType::structure::<Self>()
            }
        }
    })
}

fn enumeration(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let ident = &input.ident;
    let mut variants = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new(variant.span(), "only enums of unit variants can be saved"));
        }
        variants.push(&variant.ident);
    }
    let names: Vec<_> = variants.iter().map(|v| v.to_string()).collect();
    let numbers: Vec<u32> = (0..variants.len() as u32).collect();
    let name = format_ident!("{}", ident).to_string();
    Ok(quote! {
        #[automatically_derived]
        impl ::state::Field for #ident {
            fn save_field(&self, out: &mut ::state::Saver) {
                out.u32(match self { #(Self::#variants => #numbers),* })
            }
            fn load_field(&mut self, from: &mut ::state::Loader<'_>) -> ::core::result::Result<(), ::state::StateError> {
                *self = match from.u32()? {
                    #(#numbers => Self::#variants,)*
                    other => return Err(from.invalid(::std::format!("{other} is no {}", #name))),
                };
                Ok(())
            }
            fn field_type() -> ::state::FieldType {
                ::state::FieldType::Enum(#name.into(), ::std::vec![#(#names.into()),*])
            }
        }
    })
}
