//! `derive(Device)`.

use crate::pci;
use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Ident, LitInt, LitStr, RangeLimits, Result, Type};

#[derive(Default)]
struct TypeOptions {
    name: Option<Expr>,
    desc: Option<Expr>,
    category: Option<Expr>,
    parent: Option<Expr>,
    bus: Option<Expr>,
    user_creatable: bool,
    no_default: bool,
    inputs: Option<Expr>,
}

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.span(), "a device is a struct"));
    };
    let options = type_options(input)?;
    let mut regions = Vec::new();
    let mut bars = Vec::new();
    for attr in input.attrs.iter().filter(|a| a.path().is_ident("mmio") || a.path().is_ident("bar")) {
        let (region, bar) = region(attr, regions.len())?;
        regions.push(region);
        bars.extend(bar);
    }
    let pci = pci::info(input, &bars)?;

    let mut parts = Parts::default();
    let mut state: Option<(Ident, Type)> = None;
    let mut defaults = Vec::new();
    for field in &data.fields {
        let Some(ident) = field.ident.clone() else {
            return Err(Error::new(field.span(), "the fields of a device have names"));
        };
        let mut default = quote! { ::core::default::Default::default() };
        for attr in &field.attrs {
            if attr.path().is_ident("property") {
                let property = property(attr, &ident, &field.ty)?;
                if let Some(expr) = &property.default {
                    default = quote! { ::core::convert::From::from(#expr) };
                }
                parts.properties.push(property);
            } else if attr.path().is_ident("wire") {
                parts.wires.push((wire_name(attr, &ident)?, ident.clone()));
            } else if attr.path().is_ident("properties") {
                parts.sets.push((ident.clone(), field.ty.clone()));
            } else if attr.path().is_ident("alias") {
                parts.aliases.push((ident.clone(), field.ty.clone()));
            } else if attr.path().is_ident("place") {
                parts.sets.push((ident.clone(), field.ty.clone()));
                parts.link = Some(ident.clone());
            } else if attr.path().is_ident("state") {
                if state.is_some() {
                    return Err(Error::new(
                        field.span(),
                        "a device has one state field: nest the parts in it",
                    ));
                }
                state = Some((ident.clone(), field.ty.clone()));
            }
        }
        defaults.push(quote! { #ident: #default });
    }
    parts.pci = pci;
    Ok(generate(input, &options, &regions, &parts, state.as_ref(), &defaults))
}

/// Derives `object::PropertySet` and `Default` for a struct whose fields are properties or have a default.
pub fn derive_properties(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.span(), "properties are the fields of a struct"));
    };
    let mut properties = Vec::new();
    let mut defaults = Vec::new();
    for field in &data.fields {
        let Some(ident) = field.ident.clone() else {
            return Err(Error::new(field.span(), "properties have names"));
        };
        let mut default = quote! { ::core::default::Default::default() };
        for attr in field.attrs.iter().filter(|a| a.path().is_ident("property")) {
            let property = property(attr, &ident, &field.ty)?;
            if let Some(expr) = &property.default {
                default = quote! { ::core::convert::From::from(#expr) };
            }
            properties.push(property);
        }
        defaults.push(quote! { #ident: #default });
    }
    let ident = &input.ident;
    let methods = property_methods(&properties, &[]);
    Ok(quote! {
        #[automatically_derived]
        impl ::core::default::Default for #ident {
            fn default() -> Self {
                Self { #(#defaults),* }
            }
        }
        #[automatically_derived]
        impl ::object::PropertySet for #ident {
            #methods
        }
    })
}

/// What the fields of a device are.
#[derive(Default)]
struct Parts {
    properties: Vec<Property>,
    /// Fields whose properties are the device's too.
    sets: Vec<(Ident, Type)>,
    /// Fields that are devices of their own, whose properties can be set through this one.
    aliases: Vec<(Ident, Type)>,
    wires: Vec<(LitStr, Ident)>,
    link: Option<Ident>,
    /// The body of `Anatomy::pci`.
    pci: Option<TokenStream>,
}

fn type_options(input: &DeriveInput) -> Result<TypeOptions> {
    let mut options = TypeOptions::default();
    for attr in input.attrs.iter().filter(|a| a.path().is_ident("device")) {
        attr.parse_nested_meta(|meta| {
            let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match word.as_str() {
                "name" => options.name = Some(meta.value()?.parse()?),
                "desc" => options.desc = Some(meta.value()?.parse()?),
                "category" => options.category = Some(meta.value()?.parse()?),
                "parent" => options.parent = Some(meta.value()?.parse()?),
                "bus" => options.bus = Some(meta.value()?.parse()?),
                "inputs" => options.inputs = Some(meta.value()?.parse()?),
                "user_creatable" => options.user_creatable = true,
                "no_default" => options.no_default = true,
                _ => {
                    return Err(meta.error(
                        "expected name, desc, category, parent, bus, inputs, user_creatable or no_default",
                    ));
                }
            }
            Ok(())
        })?;
    }
    if options.name.is_none() {
        return Err(Error::new(input.span(), "a device needs #[device(name = \"..\")]"));
    }
    Ok(options)
}

/// The two ends of `1..=4`.
fn ends(expr: &Expr) -> Result<(TokenStream, TokenStream)> {
    match expr {
        Expr::Range(r) if matches!(r.limits, RangeLimits::Closed(_)) => match (&r.start, &r.end) {
            (Some(start), Some(end)) => Ok((quote!(#start), quote!(#end))),
            _ => Err(Error::new(expr.span(), "give both ends, as in 1..=4")),
        },
        _ => Err(Error::new(expr.span(), "expected a closed range of access sizes, as in 1..=4")),
    }
}

/// A register window, and the base address register it lies behind.
fn region(attr: &syn::Attribute, window: usize) -> Result<(TokenStream, Option<TokenStream>)> {
    let mut name: Option<Expr> = None;
    let mut size: Option<Expr> = None;
    let mut bar = pci::BarOptions::default();
    let mut access = Vec::new();
    attr.parse_nested_meta(|meta| {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "name" => name = Some(meta.value()?.parse()?),
            "size" => size = Some(meta.value()?.parse()?),
            "access" => {
                let (low, high) = ends(&meta.value()?.parse()?)?;
                access.push(quote! { access.valid_min = #low; access.valid_max = #high; });
            }
            "implemented" => {
                let (low, high) = ends(&meta.value()?.parse()?)?;
                access.push(quote! { access.impl_min = #low; access.impl_max = #high; });
            }
            "endian" => {
                let order: Ident = meta.value()?.parse()?;
                access.push(quote! { access.endian = ::object::Endian::#order; });
            }
            "unaligned" => access.push(quote! { access.unaligned = true; }),
            word if attr.path().is_ident("bar") => return bar.word(word, &meta),
            _ => return Err(meta.error("expected name, size, access, implemented, endian or unaligned")),
        }
        Ok(())
    })?;
    let (Some(name), Some(size)) = (name, size) else {
        return Err(Error::new(attr.span(), "a region needs a name and a size"));
    };
    let bar = if attr.path().is_ident("bar") { Some(bar.generate(attr, window, &size)?) } else { None };
    let region = quote! {
        {
            #[allow(unused_mut)]
            let mut access = ::object::Access::DEFAULT;
            #(#access)*
            #[allow(clippy::unnecessary_cast)]
            let size = (#size) as u64;
            ::object::RegionInfo { name: ::std::string::String::from(#name), size, access }
        }
    };
    Ok((region, bar))
}

struct Property {
    field: Ident,
    ty: Type,
    name: LitStr,
    desc: Option<LitStr>,
    default: Option<Expr>,
    /// Help does not tell the default.
    quiet: bool,
}

fn property(attr: &syn::Attribute, field: &Ident, ty: &Type) -> Result<Property> {
    let dashed = field.to_string().trim_start_matches("r#").replace('_', "-");
    let mut property = Property {
        field: field.clone(),
        ty: ty.clone(),
        name: LitStr::new(&dashed, field.span()),
        desc: None,
        default: None,
        quiet: false,
    };
    if matches!(attr.meta, syn::Meta::Path(_)) {
        return Ok(property);
    }
    attr.parse_nested_meta(|meta| {
        if meta.path.is_ident("name") {
            property.name = meta.value()?.parse()?;
        } else if meta.path.is_ident("desc") {
            property.desc = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("default") {
            property.default = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("quiet") {
            property.quiet = true;
        } else {
            return Err(meta.error("expected name, default, quiet or desc"));
        }
        Ok(())
    })?;
    Ok(property)
}

fn wire_name(attr: &syn::Attribute, field: &Ident) -> Result<LitStr> {
    let mut name = LitStr::new(field.to_string().trim_start_matches("r#"), field.span());
    if matches!(attr.meta, syn::Meta::Path(_)) {
        return Ok(name);
    }
    attr.parse_nested_meta(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("expected name"));
        }
        name = meta.value()?.parse()?;
        Ok(())
    })?;
    Ok(name)
}

/// The three methods about properties that `Anatomy` and `PropertySet` have: those of `properties`, then those of
/// the fields `sets`.
fn property_methods(properties: &[Property], sets: &[(Ident, Type)]) -> TokenStream {
    let infos = properties.iter().map(|p| {
        let (ty, name) = (&p.ty, &p.name);
        let desc = match &p.desc {
            Some(desc) => quote!(#desc),
            None => quote!(<#ty as ::object::PropertyType>::DESC),
        };
        let default = match &p.default {
            _ if p.quiet => quote!(::core::option::Option::None),
            Some(expr) => quote! {
                ::core::option::Option::Some(::object::PropertyType::get(&<#ty as ::core::convert::From<_>>::from(#expr)))
            },
            None => quote! {
                <#ty as ::object::PropertyType>::TELLS_DEFAULT
                    .then(|| ::object::PropertyType::get(&<#ty as ::core::default::Default>::default()))
            },
        };
        quote! {
            ::object::PropertyInfo {
                name: #name, kind: <#ty as ::object::PropertyType>::KIND, desc: #desc, default: #default,
            }
        }
    });
    let names: Vec<_> = properties.iter().map(|p| &p.name).collect();
    let fields: Vec<_> = properties.iter().map(|p| &p.field).collect();
    let set_fields: Vec<_> = sets.iter().map(|s| &s.0).collect();
    let set_types: Vec<_> = sets.iter().map(|s| &s.1).collect();
    quote! {
        fn properties() -> ::std::vec::Vec<::object::PropertyInfo> {
            #[allow(unused_mut)]
            let mut all: ::std::vec::Vec<::object::PropertyInfo> = ::std::vec![#(#infos),*];
            #(all.extend(<#set_types as ::object::PropertySet>::properties());)*
            all
        }
        fn property(&self, name: &str) -> ::core::option::Option<::object::PropertyValue> {
            match name {
                #(#names => ::core::option::Option::Some(::object::PropertyType::get(&self.#fields)),)*
                _ => {
                    #(
                        let found = ::object::PropertySet::property(&self.#set_fields, name);
                        if found.is_some() {
                            return found;
                        }
                    )*
                    ::core::option::Option::None
                }
            }
        }
        fn set_property(&mut self, name: &str, value: &::object::PropertyValue)
            -> ::core::result::Result<(), ::object::PropertyError>
        {
            match name {
                #(#names => ::object::PropertyType::set(&mut self.#fields, value),)*
                _ => {
                    #(
                        match ::object::PropertySet::set_property(&mut self.#set_fields, name, value) {
                            ::core::result::Result::Err(::object::PropertyError::NotFound) => {}
                            done => return done,
                        }
                    )*
                    ::core::result::Result::Err(::object::PropertyError::NotFound)
                }
            }
        }
    }
}

fn generate(
    input: &DeriveInput,
    options: &TypeOptions,
    regions: &[TokenStream],
    parts: &Parts,
    state: Option<&(Ident, Type)>,
    defaults: &[TokenStream],
) -> TokenStream {
    let ident = &input.ident;
    let (generics, args, bounds) = input.generics.split_for_impl();
    let name = &options.name;
    let is_pci = parts.pci.is_some();
    let desc = options.desc.as_ref().map_or_else(|| quote!(""), |d| quote!(#d));
    let category = match &options.category {
        Some(category) => quote! { ::object::Category::named(#category) },
        None => quote! { ::object::Category::Uncategorized },
    };
    let parent = match &options.parent {
        Some(parent) => quote!(#parent),
        None if is_pci => quote!("pci-device"),
        None => quote!("device"),
    };
    let bus = match &options.bus {
        Some(bus) => quote!(::core::option::Option::Some(#bus)),
        None if is_pci => quote!(::core::option::Option::Some("PCI")),
        None => quote!(::core::option::Option::None),
    };
    let user_creatable = options.user_creatable;
    let inputs = options.inputs.as_ref().map_or_else(
        || {
            let none = LitInt::new("0", proc_macro2::Span::call_site());
            quote!(#none)
        },
        |n| quote!((#n) as u32),
    );
    let create = if options.no_default {
        quote!(::core::option::Option::None)
    } else {
        quote! {
            ::core::option::Option::Some(|| ::object::DeviceCell::new(<#ident #args as ::core::default::Default>::default()))
        }
    };

    let all: Vec<_> = parts.sets.iter().chain(&parts.aliases).cloned().collect();
    let methods = property_methods(&parts.properties, &all);
    let alias_types = parts.aliases.iter().map(|a| &a.1);
    let pci = parts.pci.as_ref().map(|body| {
        quote! {
            fn pci(&self) -> ::core::option::Option<::object::pci::PciInfo> {
                #body
            }
        }
    });
    let link = parts.link.as_ref().map(|field| {
        quote! {
            fn link(&mut self) -> ::core::option::Option<&mut dyn ::object::BusLink> {
                ::core::option::Option::Some(&mut self.#field)
            }
        }
    });
    let wires = &parts.wires;
    let wire_names: Vec<_> = wires.iter().map(|w| &w.0).collect();
    let wire_fields: Vec<_> = wires.iter().map(|w| &w.1).collect();
    let (state_ty, state_ref, state_mut) = match state {
        Some((field, ty)) => (quote!(#ty), quote!(&self.#field), quote!(&mut self.#field)),
        None => (
            quote!(()),
            quote!(&()),
            // A zero-sized box does not allocate.
            quote!(::std::boxed::Box::leak(::std::boxed::Box::new(()))),
        ),
    };
    let default_impl = if options.no_default {
        quote!()
    } else {
        quote! {
            #[automatically_derived]
            impl #generics ::core::default::Default for #ident #args #bounds {
                fn default() -> Self {
                    Self { #(#defaults),* }
                }
            }
        }
    };
    // A static cannot depend on a parameter: what such a type contains has points of its own.
    let points = if input.generics.params.is_empty() {
        quote! {
            ::core::option::Option::Some({
                fn points() -> &'static ::base::trace::Points {
                    static POINTS: ::base::trace::Points =
                        ::base::trace::Points::new(#name, ::object::point::NAMES);
                    &POINTS
                }
                points
            })
        }
    } else {
        quote!(::core::option::Option::None)
    };
    quote! {
        #default_impl
        #[automatically_derived]
        impl #generics ::object::Anatomy for #ident #args #bounds {
            type State = #state_ty;
            const TYPE: &'static ::object::TypeInfo = &::object::TypeInfo {
                name: #name,
                parent: ::core::option::Option::Some(#parent),
                is_abstract: false,
                desc: #desc,
                category: #category,
                user_creatable: #user_creatable,
                bus: #bus,
                properties: <Self as ::object::Anatomy>::properties,
                points: #points,
                create: #create,
            };
            fn state(&self) -> &Self::State {
                #state_ref
            }
            fn state_mut(&mut self) -> &mut Self::State {
                #state_mut
            }
            #methods
            fn aliases() -> ::std::vec::Vec<::object::PropertyInfo> {
                #[allow(unused_mut)]
                let mut all = ::std::vec::Vec::new();
                #(all.extend(<#alias_types as ::object::PropertySet>::properties());)*
                all
            }
            fn regions(&self) -> ::std::vec::Vec<::object::RegionInfo> {
                ::std::vec![#(#regions),*]
            }
            #pci
            #link
            fn inputs(&self) -> u32 {
                #inputs
            }
            fn wires(&self) -> ::std::vec::Vec<(&'static str, usize)> {
                ::std::vec![#((#wire_names, ::object::Wire::count(&self.#wire_fields))),*]
            }
            fn wire(&mut self, name: &str, n: usize) -> ::core::option::Option<&mut ::object::Line> {
                match name {
                    #(#wire_names => ::object::Wire::line(&mut self.#wire_fields, n),)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }
}
