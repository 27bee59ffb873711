//! Reading the log's lines.

use super::*;

const LOG: &str = "\
----------------
IN: \n\
Priv: 3; Virt: 0
0x0000100c:  0202b583          ld                      a1,32(t0)

 V      =   0
 pc       000000000000100c
 mhartid  0000000000000000
 mip      0000000000000080
 x0/zero  0000000000000000 x1/ra    0000000000000001 x2/sp    0000000000000002 x3/gp    0000000000000003
 V      =   0
 pc       0000000000001010
 mhartid  0000000000000000
 mip      0000000000000000
 x0/zero  0000000000000000 x1/ra    ffffffff80000000 x2/sp    0000000000000002 x3/gp    0000000000000003
";

#[test]
fn each_record_has_its_names_values_and_instruction() {
    let mut parser = Parser::default();
    let mut batch = Batch::default();
    for line in LOG.lines() {
        parser.line(line.as_bytes(), &mut batch);
    }
    parser.end(&mut batch);
    let [first, second] = batch.records.as_slice() else { panic!("two records") };
    assert_eq!(first.pc, 0x100c);
    assert_eq!(first.instruction, Some(0x0202_b583));
    assert_eq!(first.names.join(" "), "mhartid mip x0/zero x1/ra x2/sp x3/gp");
    assert_eq!(first.values, [0, 0x80, 0, 1, 2, 3]);
    assert_eq!((second.pc, second.instruction), (0x1010, None));
    assert_eq!(second.values, [0, 0, 0, 0xffff_ffff_8000_0000, 2, 3]);
    assert_eq!(batch.texts, [(0x100c, "0202b583  ld a1,32(t0)".to_owned())]);
}
