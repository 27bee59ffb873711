use super::{models, parse_cpu};

/// QEMU 10.0.2's string for `-cpu rv64,h=off`.
const RV64: &str = "rv64imafdc_zic64b_zicbom_zicbop_zicboz_ziccamoa_ziccif_zicclsm_ziccrse_zicntr_zicsr_zifencei_zihintntl_zihintpause_zihpm_zmmul_za64rs_zaamo_zalrsc_zawrs_zfa_zca_zcd_zba_zbb_zbc_zbs_shcounterenw_shgatpa_shtvala_shvsatpa_shvstvala_shvstvecd_ssccptr_sscounterenw_sstc_sstvala_sstvecd_ssu64xl_svadu_svvptc";

fn isa(cpu: &str) -> String {
    parse_cpu(cpu).map(|c| c.isa_string()).unwrap_or_else(|e| e.to_string())
}

#[test]
fn isa_strings() {
    assert_eq!(isa("rv64"), RV64);
    assert_eq!(isa("rv64,h=off,v=off"), RV64);
    assert_eq!(isa("rv64,zba=off"), RV64.replace("_zba", ""));
    assert_eq!(isa("rv64,c=off"), RV64.replace("fdc", "fd").replace("_zca_zcd", ""));
    assert_eq!(isa("rv64,d=off"), RV64.replace("fdc", "fc").replace("_zcd", ""));
    assert_eq!(isa("rv64,m=off"), RV64.replace("im", "i").replace("_zmmul", ""));
    assert_eq!(isa("rv64,zacas=on,b=on"), RV64.replace("fdc", "fdcb").replace("zaamo_", "zaamo_zacas_"));
    assert_eq!(isa("rv64i"), "rv64i");
    assert_eq!(isa("rv64i,g=on"), "rv64imafd_zicsr_zifencei");
    assert_eq!(isa("sifive-u54"), "rv64imafdc_zicntr_zicsr_zifencei_zihpm");
    let rva22 = "rv64imafdcb_zic64b_zicbom_zicbop_zicboz_ziccamoa_ziccif_zicclsm_ziccrse_zicntr_zicsr_zifencei_zihintpause_zihpm_zmmul_za64rs_zaamo_zalrsc_zfhmin_zca_zcd_zba_zbb_zbs_zkt_shcounterenw_shgatpa_shtvala_shvsatpa_shvstvala_shvstvecd_ssccptr_sscounterenw_sstvala_sstvecd_ssu64xl_svade_svinval_svpbmt";
    assert_eq!(isa("rva22s64"), rva22);
}

#[test]
fn errors_are_worded_as_qemu_words_them() {
    assert_eq!(isa("nosuch"), "unable to find CPU model 'nosuch'");
    assert_eq!(
        isa("rv64,foo=on"),
        "can't apply global rv64-riscv-cpu.foo=on: Property 'rv64-riscv-cpu.foo' not found"
    );
    assert_eq!(
        isa("rv64,zba=maybe"),
        "can't apply global rv64-riscv-cpu.zba=maybe: Parameter 'zba' expects 'on' or 'off'"
    );
    assert_eq!(isa("rv64,+zacas"), "Expected key=value format, found +zacas.");
    assert_eq!(isa("rv64,f=off"), "Zfa extension requires F extension");
    assert_eq!(isa("rv64,zfa=off,f=off"), "D extension requires F extension");
    assert_eq!(isa("rv64,a=off"), "Zawrs extension requires A extension");
    assert_eq!(isa("rv64,u=off"), "Setting S extension without U extension is illegal");
    assert_eq!(isa("rv64,zca=off"), "Zcf/Zcd/Zcb/Zcmp/Zcmt extensions require Zca extension");
    assert_eq!(isa("rv64,zcf=on"), "Zcf extension is only relevant to RV32");
    assert_eq!(isa("rv64,i=off"), "Either I or E extension must be set");
    assert_eq!(isa("rv64,zicsr=off,zicntr=off,zihpm=off"), "F extension requires Zicsr");
    assert_eq!(
        isa("sifive-u54,zba=on"),
        "can't apply global sifive-u54-riscv-cpu.zba=on: 'sifive-u54' CPU does not allow enabling extensions"
    );
}

#[test]
fn t_heads_processor_has_its_own_extensions() {
    assert_eq!(
        isa("thead-c906"),
        "rv64imafdc_ziccamoa_ziccif_zicclsm_ziccrse_zicntr_zicsr_zifencei_zihpm_zfh_zfhmin_ssccptr_xtheadba_\
         xtheadbb_xtheadbs_xtheadcmo_xtheadcondmov_xtheadfmemidx_xtheadmac_xtheadmemidx_xtheadmempair_xtheadsync"
    );
    assert!(isa("rv64,xtheadba=on").ends_with("_xtheadba"));
}

#[test]
fn paging() {
    let mmu = |cpu: &str| parse_cpu(cpu).unwrap().mmu_type();
    assert_eq!(mmu("rv64"), "riscv,sv57");
    assert_eq!(mmu("rv64,sv57=off"), "riscv,sv48");
    assert_eq!(mmu("rv64,sv39=off"), "riscv,none");
    assert_eq!(mmu("rv64,sv39=on,sv57=off"), "riscv,sv39");
    assert_eq!(mmu("rv64i"), "riscv,none");
    assert_eq!(mmu("rv32"), "riscv,sv32");
}

#[test]
fn every_model_exists() {
    for m in models() {
        assert_eq!(parse_cpu(m).unwrap().model(), m);
    }
}
