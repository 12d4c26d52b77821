//! The admin tables in, and what is refused of them out.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, SqliteConnection};

use super::super::{StoreError, rows};
use super::BEGIN_WRITING;
use crate::carrier::{Refusal, Rows};

/// Reads all admin tables as of one moment: in a WAL, that of the transaction's first statement.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Rows, StoreError> {
    let mut transaction = connection.begin().await?;
    let at = &mut *transaction;
    let rows = Rows {
        carrier_groups: read_all(at, rows::CARRIER_GROUPS, rows::carrier_group).await?,
        carriers: read_all(at, rows::CARRIERS, rows::carrier).await?,
        gateways: read_all(at, rows::GATEWAYS, rows::gateway).await?,
        customers: read_all(at, rows::CUSTOMERS, rows::customer).await?,
        customer_addresses: read_all(at, rows::CUSTOMER_ADDRESSES, rows::customer_address).await?,
        routes: read_all(at, rows::ROUTES, rows::route).await?,
        route_carriers: read_all(at, rows::ROUTE_CARRIERS, rows::route_carrier).await?,
        route_carrier_hours: read_all(at, rows::ROUTE_CARRIER_HOURS, rows::route_carrier_hours)
            .await?,
        failure_rules: read_all(at, rows::FAILURE_RULES, rows::failure_rule).await?,
        number_rules: read_all(at, rows::NUMBER_RULES, rows::number_rule).await?,
    };
    transaction.commit().await?;
    Ok(rows)
}

async fn read_all<T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    read: fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let rows = sqlx::query(statement).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// Replaces what the node complains about.
pub(super) async fn report(
    connection: &mut SqliteConnection,
    node: &str,
    refusals: &[Refusal],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    sqlx::query("delete from config_errors where node = $1")
        .bind(node)
        .execute(&mut *transaction)
        .await?;
    for refusal in refusals {
        sqlx::query(
            "insert into config_errors (node, table_name, row_key, column_name, reason) \
             values ($1, $2, $3, $4, $5)",
        )
        .bind(node)
        .bind(refusal.table)
        .bind(&refusal.row)
        .bind(refusal.column)
        .bind(&refusal.reason)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}
