//! The eight tables of TPC-H.

use tpchgen::csv::{
    CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv,
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use super::mysql::Mysql;
use super::postgres::Postgres;

type Lines = Box<dyn Iterator<Item = String>>;

/// A table, its columns as the standard declares them, its key, and its rows as CSV.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    columns: &'static [(&'static str, &'static str)],
    pub(crate) key: &'static [&'static str],
    rows: fn(f64) -> Lines,
}

const BIGINT: &str = "bigint NOT NULL";
const INTEGER: &str = "integer NOT NULL";
const MONEY: &str = "numeric(15,2) NOT NULL";
const DATE: &str = "date NOT NULL";

pub(crate) const TABLES: [Table; 8] = [
    Table {
        name: "region",
        columns: &[("r_regionkey", INTEGER), ("r_name", "char(25)"), ("r_comment", "varchar(152)")],
        key: &["r_regionkey"],
        rows: |scale| {
            Box::new(RegionGenerator::new(scale, 1, 1).iter().map(|row| RegionCsv::new(row).to_string()))
        },
    },
    Table {
        name: "nation",
        columns: &[
            ("n_nationkey", INTEGER),
            ("n_name", "char(25)"),
            ("n_regionkey", INTEGER),
            ("n_comment", "varchar(152)"),
        ],
        key: &["n_nationkey"],
        rows: |scale| {
            Box::new(NationGenerator::new(scale, 1, 1).iter().map(|row| NationCsv::new(row).to_string()))
        },
    },
    Table {
        name: "part",
        columns: &[
            ("p_partkey", BIGINT),
            ("p_name", "varchar(55)"),
            ("p_mfgr", "char(25)"),
            ("p_brand", "char(10)"),
            ("p_type", "varchar(25)"),
            ("p_size", INTEGER),
            ("p_container", "char(10)"),
            ("p_retailprice", MONEY),
            ("p_comment", "varchar(23)"),
        ],
        key: &["p_partkey"],
        rows: |scale| {
            Box::new(PartGenerator::new(scale, 1, 1).iter().map(|row| PartCsv::new(row).to_string()))
        },
    },
    Table {
        name: "supplier",
        columns: &[
            ("s_suppkey", BIGINT),
            ("s_name", "char(25)"),
            ("s_address", "varchar(40)"),
            ("s_nationkey", INTEGER),
            ("s_phone", "char(15)"),
            ("s_acctbal", MONEY),
            ("s_comment", "varchar(101)"),
        ],
        key: &["s_suppkey"],
        rows: |scale| {
            Box::new(SupplierGenerator::new(scale, 1, 1).iter().map(|row| SupplierCsv::new(row).to_string()))
        },
    },
    Table {
        name: "partsupp",
        columns: &[
            ("ps_partkey", BIGINT),
            ("ps_suppkey", BIGINT),
            ("ps_availqty", INTEGER),
            ("ps_supplycost", MONEY),
            ("ps_comment", "varchar(199)"),
        ],
        key: &["ps_partkey", "ps_suppkey"],
        rows: |scale| {
            Box::new(PartSuppGenerator::new(scale, 1, 1).iter().map(|row| PartSuppCsv::new(row).to_string()))
        },
    },
    Table {
        name: "customer",
        columns: &[
            ("c_custkey", BIGINT),
            ("c_name", "varchar(25)"),
            ("c_address", "varchar(40)"),
            ("c_nationkey", INTEGER),
            ("c_phone", "char(15)"),
            ("c_acctbal", MONEY),
            ("c_mktsegment", "char(10)"),
            ("c_comment", "varchar(117)"),
        ],
        key: &["c_custkey"],
        rows: |scale| {
            Box::new(CustomerGenerator::new(scale, 1, 1).iter().map(|row| CustomerCsv::new(row).to_string()))
        },
    },
    Table {
        name: "orders",
        columns: &[
            ("o_orderkey", BIGINT),
            ("o_custkey", BIGINT),
            ("o_orderstatus", "char(1)"),
            ("o_totalprice", MONEY),
            ("o_orderdate", DATE),
            ("o_orderpriority", "char(15)"),
            ("o_clerk", "char(15)"),
            ("o_shippriority", INTEGER),
            ("o_comment", "varchar(79)"),
        ],
        key: &["o_orderkey"],
        rows: |scale| {
            Box::new(OrderGenerator::new(scale, 1, 1).iter().map(|row| OrderCsv::new(row).to_string()))
        },
    },
    Table {
        name: "lineitem",
        columns: &[
            ("l_orderkey", BIGINT),
            ("l_partkey", BIGINT),
            ("l_suppkey", BIGINT),
            ("l_linenumber", INTEGER),
            ("l_quantity", MONEY),
            ("l_extendedprice", MONEY),
            ("l_discount", MONEY),
            ("l_tax", MONEY),
            ("l_returnflag", "char(1)"),
            ("l_linestatus", "char(1)"),
            ("l_shipdate", DATE),
            ("l_commitdate", DATE),
            ("l_receiptdate", DATE),
            ("l_shipinstruct", "char(25)"),
            ("l_shipmode", "char(10)"),
            ("l_comment", "varchar(44)"),
        ],
        key: &["l_orderkey", "l_linenumber"],
        rows: |scale| {
            Box::new(LineItemGenerator::new(scale, 1, 1).iter().map(|row| LineItemCsv::new(row).to_string()))
        },
    },
];

/// A database with all tables at a scale factor.
pub(crate) async fn seeded(scale: f64) -> Postgres {
    let postgres = Postgres::new().await;
    for table in &TABLES {
        let columns: Vec<_> = table.columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let (columns, key) = (columns.join(", "), table.key.join(", "));
        postgres.run(&format!("CREATE TABLE {} ({columns}, PRIMARY KEY ({key}))", table.name)).await;
        postgres.load(table.name, (table.rows)(scale)).await;
    }
    postgres.run("ANALYZE").await;
    postgres
}

impl Table {
    /// All values of each row as text, in the order of the key: the same in both databases.
    fn query(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        format!(
            "SELECT concat_ws('|', {}) FROM {} ORDER BY {}",
            columns.join(", "),
            self.name,
            self.key.join(", ")
        )
    }

    pub(crate) async fn in_postgres(&self, database: &Postgres) -> Vec<String> {
        database.lines(&self.query()).await
    }

    pub(crate) async fn in_mysql(&self, database: &Mysql) -> Vec<String> {
        database.lines(&self.query()).await
    }
}

/// What a sink has made when all is done: the tables, and what it remembers. Nothing else is left behind.
pub(crate) fn tables_of_a_sink() -> Vec<String> {
    let mut names: Vec<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    names.push("_towpath_checkpoints".to_owned());
    names.sort();
    names
}
