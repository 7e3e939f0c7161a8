//! What the connectors of SQL databases share: names, quoting, partitions, conditions.
