"""What peers do for the same work, in a process of its own: `peers.py PEER WORK TABLE FROM [TO]`."""

import glob
import os
import sys


def parquet_from(reader, path):
    import pyarrow.parquet as parquet

    with parquet.ParquetWriter(path, reader.schema, compression="zstd", compression_level=1) as writer:
        for batch in reader:
            writer.write_batch(batch)


def parquet_of(table, path):
    import pyarrow.parquet as parquet

    parquet.write_table(table, path, compression="zstd", compression_level=1)


def duckdb(work, table, source, target):
    import duckdb

    kind = "mysql" if "mysql" in work else "postgres"
    package = __import__(f"duckdb_extension_{kind}_scanner")
    folder = os.path.dirname(package.__file__)
    (extension,) = glob.glob(os.path.join(folder, "**", "*.duckdb_extension"), recursive=True)
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    if "://" in source:
        connection.execute(f"ATTACH '{attached(source)}' AS here (TYPE {kind}, READ_ONLY)")
    if "://" in target:
        connection.execute(f"ATTACH '{attached(target)}' AS there (TYPE {kind})")
    schema = "public" if kind == "postgres" else source.rsplit("/", 1)[1]
    rows = f"here.{schema}.{table}" if "://" in source else f"'{source}'"
    if "://" in target:
        connection.execute(f"CREATE TABLE there.{table}_duckdb AS FROM {rows}")
    else:
        how = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
        connection.execute(f"COPY (FROM {rows}) TO '{target}' ({how})")


def attached(url):
    if url.startswith("postgres"):
        return url
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return (
        f"host={parts.hostname} port={parts.port} user={parts.username} "
        f"password={parts.password} database={parts.path[1:]}"
    )


def connectorx(work, table, source, target):
    import connectorx

    query = f"SELECT * FROM {table}"
    rows = connectorx.read_sql(
        source, query, partition_on="l_orderkey", partition_num=2, return_type="arrow"
    )
    parquet_of(rows, target)


def polars(work, table, source, target):
    import polars

    rows = polars.read_database_uri(
        f"SELECT * FROM {table}", source, partition_on="l_orderkey", partition_num=2, engine="connectorx"
    )
    rows.write_parquet(target, compression="zstd", compression_level=1)


def adbc(work, table, source, target):
    from adbc_driver_postgresql import dbapi

    if "://" in source:
        with dbapi.connect(source) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            parquet_from(cursor.fetch_record_batch(), target)
    else:
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(source)
        with dbapi.connect(target) as connection, connection.cursor() as cursor:
            # It has no decimals on this way.
            cursor.adbc_ingest(f"{table}_adbc", without_decimals(file), mode="create")
            connection.commit()


def without_decimals(file):
    import pyarrow

    def plain(field):
        return field.with_type(pyarrow.float64()) if pyarrow.types.is_decimal(field.type) else field

    schema = pyarrow.schema([plain(field) for field in file.schema_arrow])
    batches = (batch.cast(schema) for batch in file.iter_batches())
    return pyarrow.RecordBatchReader.from_batches(schema, batches)


def dlt(work, table, source, target):
    import dlt

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    rows = documents(table, source) if work == "mongodb" else dlt_table(table, source)
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(f"{target}/rows"),
        dataset_name="bench",
        pipelines_dir=f"{target}/state",
    )
    pipeline.run(
        rows, table_name=table, loader_file_format="parquet", write_disposition="replace"
    ).raise_on_failed_jobs()


def dlt_table(table, source):
    from dlt.sources.sql_database import sql_table

    driver = source.replace("postgres://", "postgresql+psycopg2://").replace("mysql://", "mysql+pymysql://")
    return sql_table(credentials=driver, table=table, backend="connectorx", reflection_level="minimal")


def documents(table, source):
    import itertools

    import pymongo

    with pymongo.MongoClient(source) as client:
        found = client.get_default_database()[table].find()
        while page := list(itertools.islice(found, 10_000)):
            for document in page:
                document["_id"] = str(document["_id"])
            yield page


def pymongoarrow(work, table, source, target):
    import pymongo
    from pymongoarrow.api import find_arrow_all

    with pymongo.MongoClient(source) as client:
        rows = find_arrow_all(client.get_default_database()[table], {})
    parquet_of(rows, target)


def main():
    peer, work, table, source, target = sys.argv[1:]
    globals()[peer](work, table, source, target)


if __name__ == "__main__":
    main()
