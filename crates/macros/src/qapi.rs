//! `derive(Qapi)`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Fields, FieldsNamed, Ident, LitStr, Result};

/// What `#[qapi(..)]` says.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    tag: Option<LitStr>,
    event: Option<LitStr>,
    alternate: bool,
    flatten: bool,
}

fn options(attrs: &[Attribute]) -> Result<Options> {
    let mut options = Options::default();
    for attr in attrs.iter().filter(|a| a.path().is_ident("qapi")) {
        attr.parse_nested_meta(|meta| {
            match meta.path.get_ident().map(ToString::to_string).unwrap_or_default().as_str() {
                "name" => options.name = Some(meta.value()?.parse()?),
                "tag" => options.tag = Some(meta.value()?.parse()?),
                "event" => options.event = Some(meta.value()?.parse()?),
                "alternate" => options.alternate = true,
                "flatten" => options.flatten = true,
                _ => return Err(meta.error("expected name, tag, event, alternate or flatten")),
            }
            Ok(())
        })?;
    }
    Ok(options)
}

/// `cpu_index` and `CpuIndex` are `cpu-index` in the protocol.
pub fn kebab(ident: &Ident) -> String {
    let mut out = String::new();
    for c in ident.to_string().trim_start_matches("r#").chars() {
        match c {
            '_' => out.push('-'),
            c if c.is_ascii_uppercase() => {
                if !out.is_empty() {
                    out.push('-');
                }
                out.push(c.to_ascii_lowercase());
            }
            c => out.push(c),
        }
    }
    out
}

fn wire_name(options: &Options, ident: &Ident) -> String {
    options.name.as_ref().map_or_else(|| kebab(ident), LitStr::value)
}

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let given = options(&input.attrs)?;
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => structure(&input.ident, &given, fields),
            Fields::Unit => structure(
                &input.ident,
                &given,
                &FieldsNamed { brace_token: Default::default(), named: Default::default() },
            ),
            Fields::Unnamed(_) => Err(Error::new(input.span(), "members have names")),
        },
        Data::Enum(data) if given.alternate => alternate(&input.ident, data),
        Data::Enum(data) => match &given.tag {
            Some(tag) => union(&input.ident, tag, data),
            None => enumeration(&input.ident, data),
        },
        Data::Union(_) => Err(Error::new(input.span(), "expected a struct or an enum")),
    }
}

/// The part of a structure's `Qapi` that follows from its `Object`.
fn object(ident: &Ident) -> TokenStream {
    quote! {
        impl ::qapi::Qapi for #ident {
            const KIND: ::qapi::Kind = ::qapi::Kind::Object;
            fn describe(schema: &mut ::qapi::Schema) -> ::std::string::String {
                schema.object(::core::any::type_name::<Self>(), |schema, members| {
                    <Self as ::qapi::Object>::members(schema, members);
                })
            }
            fn from_json(value: ::qapi::Value, at: &str) -> ::qapi::Result<Self> {
                ::qapi::object_from_json(value, at)
            }
            fn to_json(&self) -> ::qapi::Value {
                let mut map = ::qapi::Map::new();
                ::qapi::Object::put_into(self, &mut map);
                ::qapi::Value::Object(map)
            }
        }
    }
}

fn structure(ident: &Ident, given: &Options, fields: &FieldsNamed) -> Result<TokenStream> {
    let (mut members, mut takes, mut puts, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for field in &fields.named {
        let own = options(&field.attrs)?;
        let name = field.ident.as_ref().ok_or_else(|| Error::new(field.span(), "members have names"))?;
        let ty = &field.ty;
        names.push(name);
        if own.flatten {
            members.push(quote! { <#ty as ::qapi::Object>::members(schema, members); });
            takes.push(quote! { let #name = <#ty as ::qapi::Object>::take_from(map, at)?; });
            puts.push(quote! { ::qapi::Object::put_into(&self.#name, map); });
            continue;
        }
        let wire = wire_name(&own, name);
        members.push(quote! { members.add::<#ty>(schema, #wire); });
        takes.push(quote! { let #name = ::qapi::take::<#ty>(map, at, #wire)?; });
        puts.push(quote! {
            if !::qapi::Qapi::is_absent(&self.#name) {
                map.insert(#wire.into(), ::qapi::Qapi::to_json(&self.#name));
            }
        });
    }
    let event = given.event.as_ref().map(|name| {
        quote! { impl ::qapi::Event for #ident { const NAME: &'static str = #name; } }
    });
    let object = object(ident);
    Ok(quote! {
        impl ::qapi::Object for #ident {
            #[allow(unused_variables)]
            fn members(schema: &mut ::qapi::Schema, members: &mut ::qapi::Members) { #(#members)* }
            #[allow(unused_variables)]
            fn take_from(
                map: &mut ::qapi::Map<::std::string::String, ::qapi::Value>,
                at: &str,
            ) -> ::qapi::Result<Self> {
                #(#takes)*
                Ok(Self { #(#names),* })
            }
            #[allow(unused_variables)]
            fn put_into(&self, map: &mut ::qapi::Map<::std::string::String, ::qapi::Value>) { #(#puts)* }
        }
        #object
        #event
    })
}

fn enumeration(ident: &Ident, data: &DataEnum) -> Result<TokenStream> {
    let (mut variants, mut names) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new(
                variant.span(),
                "say #[qapi(tag = \"..\")] or #[qapi(alternate)] on the enum",
            ));
        }
        names.push(wire_name(&options(&variant.attrs)?, &variant.ident));
        variants.push(&variant.ident);
    }
    let places = 0..variants.len();
    Ok(quote! {
        impl #ident {
            /// The names of all values, in their order.
            pub const NAMES: &'static [&'static str] = &[#(#names),*];
            /// The value's name in the protocol.
            pub const fn name(&self) -> &'static str {
                match self { #(Self::#variants => #names),* }
            }
        }
        impl ::qapi::Qapi for #ident {
            const KIND: ::qapi::Kind = ::qapi::Kind::String;
            fn describe(schema: &mut ::qapi::Schema) -> ::std::string::String {
                schema.enumeration(::core::any::type_name::<Self>(), Self::NAMES)
            }
            fn from_json(value: ::qapi::Value, at: &str) -> ::qapi::Result<Self> {
                match ::qapi::enumeration(&value, at, Self::NAMES)? {
                    #(#places => Ok(Self::#variants),)*
                    _ => unreachable!("a place among the names"),
                }
            }
            fn to_json(&self) -> ::qapi::Value { self.name().into() }
        }
    })
}

fn union(ident: &Ident, tag: &LitStr, data: &DataEnum) -> Result<TokenStream> {
    let (mut names, mut describes, mut takes, mut puts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, variant) in data.variants.iter().enumerate() {
        let name = wire_name(&options(&variant.attrs)?, &variant.ident);
        let case = &variant.ident;
        match &variant.fields {
            Fields::Unit => {
                describes.push(quote! { let kind = schema.empty(); members.variant(#name, &kind); });
                takes.push(quote! { #place => Self::#case });
                puts.push(quote! { Self::#case => #name });
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let ty = fields.unnamed.first().map(|f| &f.ty);
                describes.push(quote! {
                    let kind = <#ty as ::qapi::Qapi>::describe(schema);
                    members.variant(#name, &kind);
                });
                takes.push(quote! { #place => Self::#case(::qapi::Object::take_from(map, at)?) });
                puts.push(quote! { Self::#case(one) => { ::qapi::Object::put_into(one, map); #name } });
            }
            _ => return Err(Error::new(variant.span(), "a variant has one structure or nothing")),
        }
        names.push(name);
    }
    let object = object(ident);
    Ok(quote! {
        impl ::qapi::Object for #ident {
            fn members(schema: &mut ::qapi::Schema, members: &mut ::qapi::Members) {
                let key = ::std::concat!(::core::module_path!(), "::", ::core::stringify!(#ident), "/tag");
                let kind = schema.enumeration(key, &[#(#names),*]);
                members.tag(#tag, &kind);
                #(#describes)*
            }
            fn take_from(
                map: &mut ::qapi::Map<::std::string::String, ::qapi::Value>,
                at: &str,
            ) -> ::qapi::Result<Self> {
                let case: ::std::string::String = ::qapi::take(map, at, #tag)?;
                Ok(match ::qapi::literal(&case, #tag, &[#(#names),*])? {
                    #(#takes,)*
                    _ => unreachable!("a place among the names"),
                })
            }
            #[allow(unused_variables)]
            fn put_into(&self, map: &mut ::qapi::Map<::std::string::String, ::qapi::Value>) {
                let case = match self { #(#puts),* };
                map.insert(#tag.into(), case.into());
            }
        }
        #object
    })
}

fn alternate(ident: &Ident, data: &DataEnum) -> Result<TokenStream> {
    let (mut cases, mut types) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        let Fields::Unnamed(fields) = &variant.fields else {
            return Err(Error::new(variant.span(), "a choice holds one value"));
        };
        cases.push(&variant.ident);
        types.push(fields.unnamed.first().map(|f| &f.ty));
    }
    let name = ident.to_string();
    Ok(quote! {
        impl ::qapi::Qapi for #ident {
            const KIND: ::qapi::Kind = ::qapi::Kind::Value;
            fn describe(schema: &mut ::qapi::Schema) -> ::std::string::String {
                schema.alternate(::core::any::type_name::<Self>(), |schema| {
                    ::std::vec![#(<#types as ::qapi::Qapi>::describe(schema)),*]
                })
            }
            fn from_json(value: ::qapi::Value, at: &str) -> ::qapi::Result<Self> {
                #(if <#types as ::qapi::Qapi>::KIND.fits(&value) {
                    return <#types as ::qapi::Qapi>::from_json(value, at).map(Self::#cases);
                })*
                Err(::qapi::wrong_type(at, #name))
            }
            fn to_json(&self) -> ::qapi::Value {
                match self { #(Self::#cases(one) => ::qapi::Qapi::to_json(one)),* }
            }
        }
    })
}
