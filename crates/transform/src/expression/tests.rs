//! Parsing and printing. What expressions mean is tested over batches, from outside.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::*;

fn printed(text: &str) -> String {
    parse(text).unwrap_or_else(|problem| panic!("{text}: {}", problem.message)).to_string()
}

#[test]
fn and_binds_more_than_or_and_not_more_than_and() {
    for (text, same) in [
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("not a = 1 or b", "(not (a = 1)) or b"),
        ("a = 1 and b = 2 or c = 3", "((a = 1) and (b = 2)) or (c = 3)"),
        ("a between 1 and 2 and b", "(a between 1 and 2) and b"),
        ("not not a", "not (not a)"),
    ] {
        assert_eq!(parse(text).unwrap(), parse(same).unwrap(), "{text}");
    }
    assert_ne!(parse("(a or b) and c").unwrap(), parse("a or b and c").unwrap());
    assert_ne!(parse("not (a and b)").unwrap(), parse("not a and b").unwrap());
}

#[test]
fn everything_that_can_be_written_prints_in_one_way() {
    for (text, same) in [
        ("A_1 <> -1.50", "A_1 != -1.50"),
        ("a NOT IN ( 'x' , 'it''s', null )", "a not in ('x', 'it''s', null)"),
        ("\"a b\".\"say \"\"hi\"\"\" Is Not Null", "\"a b\".\"say \"\"hi\"\"\" is not null"),
        ("a.b.c ILIKE 'x%'", "a.b.c ilike 'x%'"),
        ("a not like 'x' and (b not ilike 'y')", "a not like 'x' and b not ilike 'y'"),
        ("d >= DATE '2024-01-31'", "d >= date '2024-01-31'"),
        ("t < timestamp '2024-01-31T12:00:00Z'", "t < timestamp '2024-01-31T12:00:00Z'"),
        ("date = '2024-01-31' and timestamp is null", "date = '2024-01-31' and timestamp is null"),
        ("(a = 1) is null", "(a = 1) is null"),
        ("\"null\" = 1e3 or \"Größe\" = +1", "\"null\" = 1e3 or Größe = 1"),
        ("a not between b and (c)", "a not between b and c"),
        ("TRUE or False", "true or false"),
    ] {
        assert_eq!(printed(text), same);
    }
}

#[test]
fn a_mistake_is_shown_with_a_caret() {
    for (text, shown) in [
        ("", "expected a column or a value, found the end\n  \n  ^"),
        ("amount >", "expected a column or a value, found the end\n  amount >\n          ^"),
        ("amount > )", "expected a column or a value, found `)`\n  amount > )\n           ^"),
        ("a = 1 b", "expected `and`, `or` or the end, found `b`\n  a = 1 b\n        ^"),
        ("a == 1", "`==` is not an operator: write `=`\n  a == 1\n    ^"),
        ("a && b", "`&&` is not an operator: write `and`\n  a && b\n    ^"),
        ("!a", "`!` is not an operator: write `not`\n  !a\n  ^"),
        (
            "1 < a < 3",
            "only two values can be compared at a time: join comparisons with `and`\n  1 < a < 3\n        ^",
        ),
        ("größe = 'x", "the closing ' of this is missing\n  größe = 'x\n          ^"),
        ("a in ()", "expected a column or a value, found `)`\n  a in ()\n        ^"),
        ("a in (1", "expected `,` or `)`, found the end\n  a in (1\n         ^"),
        ("(a = 1", "expected `)`, found the end\n  (a = 1\n        ^"),
        ("a is 1", "expected `null`, found `1`\n  a is 1\n       ^"),
        ("a between 1 or 2", "expected `and`, found `or`\n  a between 1 or 2\n              ^"),
        ("a not 1", "expected `in`, `between`, `like` or `ilike`, found `1`\n  a not 1\n        ^"),
        ("a.1 = 2", "expected the name of a field, found `1`\n  a.1 = 2\n    ^"),
        ("12ab = 2", "`a` cannot follow a number\n  12ab = 2\n    ^"),
        ("a = -b", "expected a number, found `b`\n  a = -b\n       ^"),
        ("a # b", "`#` means nothing here\n  a # b\n    ^"),
        ("lower(a) = 'x'", "functions are not supported\n  lower(a) = 'x'\n       ^"),
        (
            "a like 'x' escape '!'",
            "`escape` is not supported: a backslash escapes % and _\n  a like 'x' escape '!'\n             ^",
        ),
        (
            "d > date '2024-02-30'",
            "date '2024-02-30' is not a date: write for example date '2024-01-31'\n  d > date '2024-02-30'\n           ^",
        ),
        (
            "d > timestamp 'noon'",
            "timestamp 'noon' is not a timestamp: write for example timestamp '2024-01-31T12:00:00Z'\n  \
             d > timestamp 'noon'\n                ^",
        ),
        ("a = 1\nand b >\nor c", "expected a column or a value, found `or`\n  or c\n  ^"),
    ] {
        let problem = parse(text).expect_err(text);
        assert_eq!(problem.into_error(ErrorKind::Config, text).message(), shown, "{text}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_a_long_chain_is_not() {
    let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(parse(&deep).unwrap_err().message.contains("nested more than 100 levels"));
    assert!(parse(&format!("{}a", "not ".repeat(10_000))).is_err());
    let long = vec!["a = 1"; 10_000].join(" or ");
    assert_eq!(printed(&long), long);
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        "-?[0-9]{1,25}(\\.[0-9]{1,5})?(e-?[0-9]{1,2})?".prop_map(Literal::Number),
        "\\PC{0,8}".prop_map(Literal::Text),
        "[ '\"\\n]{0,4}".prop_map(Literal::Text),
        Just(Literal::Date("2024-02-29".into())),
        Just(Literal::Timestamp("2024-01-31T12:00:00.123456789+02:00".into())),
    ]
}

fn expressions() -> impl Strategy<Value = Expression> {
    let name = prop_oneof!["[a-z_][a-z0-9_$]{0,6}", "\\PC{1,5}", Just("And".into()), Just("date".into())];
    let column = prop::collection::vec(name, 1..3).prop_map(Node::Column);
    let leaf = prop_oneof![column, literals().prop_map(Node::Literal)].prop_map(at_zero);
    leaf.prop_recursive(5, 40, 4, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        let many = || prop::collection::vec(inner.clone(), 2..4);
        let operator = prop::sample::select(vec![
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ]);
        prop_oneof![
            many().prop_map(Node::Or),
            many().prop_map(Node::And),
            one().prop_map(Node::Not),
            (one(), operator, one()).prop_map(|(left, operator, right)| Node::Compare {
                left,
                operator,
                right
            }),
            (one(), many(), any::<bool>()).prop_map(|(value, items, negated)| Node::In {
                value,
                items,
                negated
            }),
            (one(), one(), one(), any::<bool>()).prop_map(|(value, low, high, negated)| Node::Between {
                value,
                low,
                high,
                negated
            }),
            (one(), one(), any::<bool>(), any::<bool>()).prop_map(
                |(value, pattern, ignore_case, negated)| Node::Like { value, pattern, ignore_case, negated }
            ),
            (one(), any::<bool>()).prop_map(|(value, negated)| Node::IsNull { value, negated }),
        ]
        .prop_map(at_zero)
    })
}

fn at_zero(node: Node) -> Expression {
    Expression { node, at: 0 }
}

proptest! {
    #![proptest_config(Config {
        cases: 300,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn what_is_printed_parses_to_the_same(expression in expressions()) {
        let text = expression.to_string();
        let parsed = parse(&text).map_err(|problem| TestCaseError::fail(format!("{text}: {}", problem.message)))?;
        prop_assert_eq!(parsed, expression, "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,20}|[a-c'\"().,<>=! 1-3\\-+ei]{0,30}") {
        if let Err(problem) = parse(&text) {
            problem.into_error(ErrorKind::Config, &text);
        }
    }
}
