//! Reading XML as a whole.

use serde_json::json;
use towpath_core::{Json, Position, Result};

use crate::text::Kind;
use crate::text::testing::{WHOLE, batches, declared, input, joined, messages, read, rows, rows_of, types};
use crate::{Compression, Namespaces, ReadOptions, XmlRead};

fn xml_with(change: impl FnOnce(&mut XmlRead), options: ReadOptions) -> crate::text::Reader {
    let mut xml = XmlRead::default();
    change(&mut xml);
    let kind = Kind::Xml(super::Layout::new(&xml).unwrap());
    crate::text::Reader::new(kind, Compression::None, options)
}

fn at(records: &str) -> crate::text::Reader {
    xml_with(|xml| xml.records = Some(records.to_owned()), ReadOptions::default())
}

fn plain() -> crate::text::Reader {
    xml_with(|_| {}, ReadOptions::default())
}

async fn fails(reader: &crate::text::Reader, text: &str) -> String {
    read(reader, text.to_owned()).await.unwrap_err().to_string()
}

const FEED: &str = r#"<?xml version="1.0"?>
<!DOCTYPE feed [ <!ELEMENT feed ANY> <!ENTITY big "&#60;entry>"> ]>
<!-- <entry>not this</entry> -->
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:dc="http://purl.org/dc/elements/1.1/">
  <title>All of it</title>
  <entry id="1"><title>First &amp; foremost</title><dc:creator>Ann</dc:creator>
    <author><name>Ann</name></author><link href="a"/><link href="b" rel="self"/></entry>
  <entry id="2"><title><![CDATA[<b>Second</b>]]></title>
    <author><name>Bob</name></author><author><name>Cy</name></author><link href="c"/><price cur="EUR">5</price><empty/></entry>
  <?skip <entry/> ?>
  <entry id="3"><price>7</price><nil xmlns:xsi="x" xsi:nil="true"/></entry>
</feed>
"#;

#[tokio::test]
async fn records_become_rows_in_a_form_that_fits_all() {
    let found = rows(&at("/feed/entry"), FEED).await;
    let expected = [
        json!({"@id": "1", "title": "First & foremost", "creator": "Ann", "author": [{"name": "Ann"}],
               "link": [{"@href": "a", "@rel": null}, {"@href": "b", "@rel": "self"}], "price": null, "empty": null,
               "nil": null}),
        json!({"@id": "2", "title": "<b>Second</b>", "creator": null, "author": [{"name": "Bob"}, {"name": "Cy"}],
               "link": [{"@href": "c", "@rel": null}], "price": {"@cur": "EUR", "#text": "5"}, "empty": null,
               "nil": null}),
        json!({"@id": "3", "title": null, "creator": null, "author": null, "link": null,
               "price": {"@cur": null, "#text": "7"}, "empty": null, "nil": null}),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn without_a_path_the_elements_within_the_root_are_records() {
    let text = "<list><a>1</a><b x='2'/><a>3</a></list>";
    let expected = [
        json!({"#text": "1", "@x": null}),
        json!({"#text": null, "@x": "2"}),
        json!({"#text": "3", "@x": null}),
    ];
    assert_eq!(rows(&plain(), text).await, expected);
    let found = rows(&at("/list/a"), text).await;
    assert_eq!(found, [json!({"#text": "1"}), json!({"#text": "3"})]);
}

#[tokio::test]
async fn a_path_leads_through_several_parents() {
    let text = "<r><g><i>1</i><x><i>no</i></x><i>2</i></g><h><i>no</i></h><g><i>3</i></g></r>";
    let found = rows(&at("/r/g/i"), text).await;
    assert_eq!(found, [json!({"#text": "1"}), json!({"#text": "2"}), json!({"#text": "3"})]);
    assert_eq!(rows(&at("/r/*/i"), text).await.len(), 4);
    assert_eq!(rows(&at("r"), "<r><a>1</a></r>").await, [json!({"a": "1"})]);
}

#[tokio::test]
async fn prefixes_stay_on_request() {
    let reader = xml_with(
        |xml| {
            xml.namespaces = Namespaces::Keep;
            xml.records = Some("/a:list/a:item".to_owned());
        },
        ReadOptions::default(),
    );
    let text = r#"<a:list xmlns:a="u"><a:item a:x="1" xmlns:b="v"><b:y>2</b:y></a:item><item/></a:list>"#;
    assert_eq!(rows(&reader, text).await, [json!({"@a:x": "1", "@xmlns:b": "v", "b:y": "2"})]);
    assert_eq!(rows(&at("/list/item"), text).await[0], json!({"@x": "1", "y": "2"}));
}

#[tokio::test]
async fn named_elements_are_always_lists() {
    let text = "<r><i><tag>a</tag><in><n>1</n></in></i></r>";
    let lists = |lists: &[&str]| {
        let lists = lists.iter().map(|name| (*name).to_owned()).collect();
        xml_with(|xml| xml.lists = lists, ReadOptions::default())
    };
    assert_eq!(rows(&lists(&[]), text).await, [json!({"tag": "a", "in": {"n": "1"}})]);
    assert_eq!(rows(&lists(&["tag", "in/n"]), text).await, [json!({"tag": ["a"], "in": {"n": ["1"]}})]);
}

#[tokio::test]
async fn texts_stay_texts_unless_columns_are_declared() {
    let text = "<r><i><n>007</n><at>2024-01-31</at></i></r>";
    let (found, _) = read(&plain(), text).await.unwrap();
    assert_eq!(types(&found), ["n: string", "at: string"]);
    let reader = xml_with(|_| {}, declared(&[("n", "int64"), ("at", "date")]));
    let (found, _) = read(&reader, text).await.unwrap();
    assert_eq!(rows_of(&found), [json!({"n": 7, "at": "2024-01-31"})]);
}

#[tokio::test]
async fn no_entity_is_expanded_but_those_of_xml() {
    let text = r#"<!DOCTYPE r [<!ENTITY lol "lol"><!ENTITY file SYSTEM "file:///etc/passwd">]>
<r><i>1</i><i>&lol;</i><i>&file;</i><i x="&lol;">4</i><i>&lt;&#x41;&apos;</i></r>"#;
    let (found, rejected) = read(&plain(), text).await.unwrap();
    assert_eq!(rows_of(&found), [json!({"#text": "1"}), json!({"#text": "<A'"})]);
    assert_eq!(
        messages(&rejected)[..2],
        [
            "in/file.txt#2: the entity `&lol;` is not one of XML, and no other is expanded",
            "in/file.txt#3: the entity `&file;` is not one of XML, and no other is expanded"
        ]
    );
    assert!(
        messages(&rejected)[2].starts_with("in/file.txt#4: the attribute `x` cannot be read"),
        "{rejected:?}"
    );
    assert_eq!(rejected[0].row, Some(json!("<i>&lol;</i>")));
}

#[tokio::test]
async fn a_rejected_row_has_its_number() {
    let reader = xml_with(|_| {}, declared(&[("n", "int64")]));
    let text = "<r><i><n>1</n></i><i><n>&x;</n></i><i><n>three</n></i></r>";
    let (_, rejected) = read(&reader, text).await.unwrap();
    let places: Vec<_> = rejected.iter().map(|rejected| rejected.place.as_str()).collect();
    assert_eq!(places, ["in/file.txt#2", "in/file.txt#3"]);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    for (text, message) in [
        ("<r>\n<i><a></b></i></r>", "invalid XML at line 2, column 7:"),
        ("<r><i>1</i>", "it ends in the middle of the XML document after 0 rows"),
        ("{\"a\": 1}", "it is not XML (begins with `{\"a\": 1}`)"),
        ("<!doctype html><html></html>", "the body is HTML, not XML"),
        ("<html><body></body></html>", "the body is HTML, not XML"),
        ("  ", "the body is empty, not XML"),
        ("<!-- nothing -->", "it has no root element"),
        ("<r/><r/>", "invalid XML: something follows the root element"),
    ] {
        let error = fails(&plain(), text).await;
        assert!(error.starts_with(message), "{text}: {error}");
    }
    let error = fails(&at("/rss/channel/item"), "<feed><entry/></feed>").await;
    assert!(error.starts_with("the root is `feed`, which is not in `/rss/channel/item`"), "{error}");
}

#[tokio::test]
async fn nesting_has_a_bound() {
    let deep = |depth: usize| format!("<r>{}{}</r>", "<a>".repeat(depth), "</a>".repeat(depth));
    assert_eq!(rows(&plain(), deep(50)).await.len(), 1);
    let error = fails(&plain(), &deep(100_000)).await;
    assert!(error.starts_with("elements are nested deeper than 100"), "{error}");
    let reader = xml_with(|xml| xml.max_depth = 20, ReadOptions::default());
    assert!(read(&reader, deep(50)).await.is_err());
}

#[tokio::test]
async fn wrong_options_are_refused() {
    for records in ["/feed//entry", "$.feed", "", "/a[1]", "//a"] {
        let options = XmlRead { records: Some(records.to_owned()), ..XmlRead::default() };
        let error = super::Layout::new(&options).unwrap_err().to_string();
        assert!(error.contains("is not a path to elements"), "{records}: {error}");
    }
    assert!(super::Layout::new(&XmlRead { max_depth: 0, ..XmlRead::default() }).is_err());
}

#[tokio::test]
async fn the_encoding_is_told_by_the_document() {
    let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><r><i>caf\xE9</i></r>";
    assert_eq!(rows(&plain(), latin.to_vec()).await, [json!({"#text": "café"})]);
    let utf_16: Vec<u8> =
        "\u{feff}<r><i>caf\u{e9}</i></r>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(rows(&plain(), utf_16).await, [json!({"#text": "café"})]);
    // Without a word about it, it is UTF-8.
    let (_, rejected) = read(&plain(), b"<r><i>caf\xE9</i></r>".to_vec()).await.unwrap();
    assert_eq!(messages(&rejected), ["in/file.txt#1: invalid UTF-8"]);
}

/// A document whose items stand in several groups.
fn grouped(items: usize) -> (String, Vec<Json>) {
    let mut text = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r>".to_owned();
    let mut expected = Vec::new();
    for item in 0..items {
        if item % 7 == 0 {
            text.push_str(if item == 0 { "<g>" } else { "</g><!-- next --><other><i/></other><g>" });
        }
        let record = format!("<i id='{item}'><n>{}</n></i>\n", "x".repeat(item % 11 + 1));
        text.push_str(&record);
        expected.push(json!({"@id": item.to_string(), "n": "x".repeat(item % 11 + 1)}));
    }
    text.push_str("</g></r>");
    (text, expected)
}

#[tokio::test]
async fn reading_goes_on_behind_any_batch() -> Result<()> {
    let (text, expected) = grouped(300);
    let plain_text = text.replace(" encoding=\"ISO-8859-1\"", "");
    for text in [text, plain_text] {
        for block in [1, 40, 333, 5_000] {
            let reader = at("/r/g/i").with_block_bytes(block);
            let input = input("in/file.xml", text.clone());
            let whole = batches(&reader, &input, &WHOLE, &Position::Start).await?;
            assert_eq!(rows_of(&joined(&whole).0), expected, "blocks of {block} bytes");
            for (index, batch) in whole.iter().enumerate().step_by(whole.len() / 5 + 1) {
                let rest = batches(&reader, &input, &WHOLE, &batch.resume).await?;
                assert_eq!(rows_of(&joined(&rest).0), rows_of(&joined(&whole[index + 1..]).0));
            }
        }
    }
    Ok(())
}
