//! The attributes of PCI devices: `#[pci(..)]`, `#[bar(..)]`, `#[capability(..)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Expr, Ident, Result};

/// The words of `#[bar]` beyond those of `#[mmio]`.
#[derive(Default)]
pub struct BarOptions {
    index: Option<Expr>,
    kind: Option<Ident>,
    prefetchable: bool,
    offset: Option<Expr>,
    fixed: Option<Expr>,
}

impl BarOptions {
    /// Reads one word.
    pub fn word(&mut self, word: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match word {
            "index" => self.index = Some(meta.value()?.parse()?),
            "kind" => self.kind = Some(meta.value()?.parse()?),
            "offset" => self.offset = Some(meta.value()?.parse()?),
            "fixed" => self.fixed = Some(meta.value()?.parse()?),
            "prefetchable" => self.prefetchable = true,
            _ => {
                return Err(meta.error(
                    "expected index, kind, prefetchable, offset, fixed, name, size, access, implemented, endian or unaligned",
                ));
            }
        }
        Ok(())
    }

    /// The base address register for register window `window`.
    pub fn generate(self, attr: &syn::Attribute, window: usize, size: &Expr) -> Result<TokenStream> {
        let Some(index) = self.index else {
            return Err(Error::new(attr.span(), "a BAR needs its index"));
        };
        let kind = self.kind.map_or_else(|| quote!(Memory32), |kind| quote!(#kind));
        let prefetchable = self.prefetchable;
        let offset = self.offset.map_or_else(|| quote!(0), |offset| quote!(#offset));
        let fixed = self.fixed.map_or_else(
            || quote!(::core::option::Option::None),
            |fixed| quote!(::core::option::Option::Some(#fixed)),
        );
        Ok(quote! {
            ::object::pci::BarWindow {
                index: #index,
                kind: ::object::pci::BarKind::#kind,
                prefetchable: #prefetchable,
                window: #window,
                offset: #offset,
                size: (#size) as u64,
                fixed: #fixed,
            }
        })
    }
}

/// The body of `Anatomy::pci`, if the device has `#[pci]`.
pub fn info(input: &DeriveInput, bars: &[TokenStream]) -> Result<Option<TokenStream>> {
    let Some(attr) = input.attrs.iter().find(|a| a.path().is_ident("pci")) else {
        return match bars.is_empty() {
            true => Ok(None),
            false => Err(Error::new(input.span(), "a device with BARs needs #[pci(..)]")),
        };
    };
    let mut fields = Vec::new();
    let mut adjust: Option<Expr> = None;
    attr.parse_nested_meta(|meta| {
        let name = meta.path.get_ident().cloned();
        let word = name.as_ref().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "vendor" | "device" | "revision" | "class" | "pin" => {
                let value: Expr = meta.value()?.parse()?;
                fields.push(quote!(#name: #value));
            }
            "subsystem" => {
                let value: Expr = meta.value()?.parse()?;
                fields.push(quote!(subsystem: ::core::option::Option::Some(#value)));
            }
            "bridge" => fields.push(quote!(bridge: true)),
            "adjust" => adjust = Some(meta.value()?.parse()?),
            _ => {
                return Err(
                    meta.error("expected vendor, device, revision, class, subsystem, pin, bridge or adjust")
                );
            }
        }
        Ok(())
    })?;
    let capabilities = input
        .attrs
        .iter()
        .filter(|a| a.path().is_ident("capability"))
        .map(|a| a.parse_args::<Expr>())
        .collect::<Result<Vec<_>>>()?;
    let adjust = adjust.map(|adjust| quote!((#adjust)(self, &mut info);));
    Ok(Some(quote! {
        #[allow(unused_mut, clippy::needless_update)]
        let mut info = ::object::pci::PciInfo {
            #(#fields,)*
            bars: ::std::vec![#(#bars),*],
            capabilities: ::std::vec![#(#capabilities),*],
            ..::core::default::Default::default()
        };
        #adjust
        ::core::option::Option::Some(info)
    }))
}
