//! Whole explanations, word for word.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::explain::{Styles, explain, explain_message};
use fixp_codec::{Decoder, LAXCUS6, LEXST1};

fn explained(wire: &str) -> String {
    explain(&Decoder::new(&LAXCUS6), &hex::decode(wire).unwrap()).to_string()
}

#[test]
fn an_error_stands_under_its_byte() {
    // The answer to a recorded TEST, with a bad type in its second message.
    let text = explained("c70001f3030300e803083052453a5445535421d10703a0aabbcc");
    let expected = "       0  c7                       command.tag              answer
       1  00 01                    command.version          0x0100
       3  f3 03                    command.code             1011 ACCEPTED
       5  03 00                    command.message_count    3 messages
       7  e8 03                    messages[0].key          1000 SPEAK
       9  08 30                    messages[0].type_length  string, 8 bytes
      11  52 45 3a 54 45 53 54 21  messages[0].value        \"RE:TEST!\"
      19  d1 07                    messages[1].key          2001 HOST
      21  03 a0                    messages[1].type_length  unknown type 10, 3 bytes
          ^^
          unknown-type at byte 21: type code 10 of key 2001 is not known in this dialect
      23  aa bb cc                 messages[1].value        3 bytes
";
    assert_eq!(text, expected);
}

#[test]
fn an_error_in_the_middle_of_a_line_and_on_a_second_line() {
    // Ten bytes of an int64: the ninth, on the second line, is one too many.
    let text = explained("87000105010100e8030a600102030405060708090a");
    let expected =
        "      11  01 02 03 04 05 06 07 08  messages[0].value        10 bytes, too many for the type
      19  09 0a
          ^^
          bad-value at byte 19: the int64 of key 1000 has digits beyond its 8 bytes (10 bytes long)
";
    assert!(text.ends_with(expected), "{text}");
    // An int16 whose third byte is one too many.
    let text = explained("87000105010100e8030340010203");
    let expected =
        "      11  01 02 03                 messages[0].value        3 bytes, too many for the type
                ^^
          bad-value at byte 13: the int16 of key 1000 has digits beyond its 2 bytes (3 bytes long)
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn what_is_missing_is_shown_behind_the_last_byte() {
    let text = explained("87000105010200e803");
    let expected = "       7  e8 03                    messages[0].key          1000 SPEAK
          ^^
          truncated at byte 7: a message head needs 4 bytes, 2 are there
";
    assert!(text.ends_with(expected), "{text}");
    let text = explained("87000105010100fc03015003");
    let expected = "      11  03                       messages[0].value        3
             ^^
          truncated at byte 12: the entity needs 3 bytes, 0 are there
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn long_fields_are_cut_and_trailing_bytes_are_told() {
    let wire = [&hex::decode("87000105010100fc03015064").unwrap()[..], &[0xee; 100], &[0xff]].concat();
    let text = explain(&Decoder::new(&LAXCUS6), &wire).to_string();
    let expected = "      68  ee ee ee ee ee ee ee ee
          ... 36 more bytes
     112  ff                       trailing                 1 byte behind the packet
";
    assert!(text.ends_with(expected), "{text}");
    assert!(
        text.contains("      12  ee ee ee ee ee ee ee ee  entity                   100 bytes\n"),
        "{text}"
    );
    let all = explain(&Decoder::new(&LAXCUS6), &wire).with_bytes(usize::MAX).to_string();
    assert!(all.contains("     108  ee ee ee ee\n") && !all.contains("more bytes"), "{all}");
}

#[test]
fn names_numbers_and_values() {
    // lexst1: major first; an unknown type, a float, a boolean, a long text, text that is not UTF-8.
    let text = "x".repeat(70);
    let wire = [
        &hex::decode("87000103ff0500").unwrap()[..],
        &hex::decode("010001f007").unwrap(),
        &hex::decode("020004300000c03f").unwrap(),
        &hex::decode("0300012001").unwrap(),
        &[4, 0, 70, 0x10],
        text.as_bytes(),
        &hex::decode("05000110ff").unwrap(),
    ]
    .concat();
    let text = explain(&Decoder::new(&LEXST1), &wire).to_string();
    for line in [
        "command.major            3 NOTIFY\n",
        "command.minor            255\n",
        "messages[0].type_length  unknown type 15, 1 byte\n",
        "messages[0].value        1 byte\n",
        "messages[1].value        1.5\n",
        "messages[2].value        true\n",
        &format!("messages[3].value        {:?}...\n", "x".repeat(64)),
        "messages[4].value        not UTF-8\n",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_lone_message_and_styles() {
    let styles = Styles { offset: ["<", ">"], bytes: ["[", "]"], path: ["{", "}"], error: ["(", ")"] };
    let wire = hex::decode("e90301500007").unwrap();
    let text = explain_message(&Decoder::new(&LAXCUS6), &wire).with_styles(styles).to_string();
    let expected = "<       0>  [e9 03]                    {key                    }  1001 TIMEOUT
<       2>  [01 50]                    {type_length            }  int32, 1 byte
<       4>  [00]                       {value                  }  0
<       5>  [07]                       {trailing               }  1 byte behind the packet
";
    assert_eq!(text, expected);
    let cut = explain_message(&Decoder::new(&LAXCUS6), &wire[..4]).with_styles(styles).to_string();
    assert!(
        cut.ends_with("(truncated at byte 4: the value of key 1001 (int32) needs 1 byte, 0 are there)\n"),
        "{cut}"
    );
}
