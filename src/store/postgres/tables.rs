//! The admin tables in, and what is refused of them out.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::super::{StoreError, rows};
use crate::carrier::rows::FailureRuleRow;
use crate::carrier::{Refusal, Rows, Severity};

/// Reads all admin tables as of one moment.
pub(super) async fn read(connection: &mut PgConnection) -> Result<Rows, StoreError> {
    let begin = "begin isolation level repeatable read read only";
    let mut transaction = connection.begin_with(begin).await?;
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
        number_examples: read_all(at, rows::NUMBER_EXAMPLES, rows::number_example).await?,
        carrier_credentials: read_all(at, rows::CARRIER_CREDENTIALS, rows::carrier_credentials)
            .await?,
        customer_credentials: read_all(at, rows::CUSTOMER_CREDENTIALS, rows::customer_credentials)
            .await?,
        registrations: read_all(at, rows::REGISTRATIONS, rows::registration).await?,
    };
    transaction.commit().await?;
    Ok(rows)
}

async fn read_all<T>(
    connection: &mut PgConnection,
    statement: &'static str,
    read: fn(&PgRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let rows = sqlx::query(statement).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// Carries out statements, all or none.
pub(super) async fn execute(
    connection: &mut PgConnection,
    statements: &[String],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    for statement in statements {
        // Written by `insert`, which quotes what it did not write itself.
        let statement = AssertSqlSafe(statement.as_str());
        sqlx::raw_sql(statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The store gives it its number.
pub(super) async fn insert_failure_rule(
    connection: &mut PgConnection,
    rule: &FailureRuleRow,
) -> Result<(), StoreError> {
    sqlx::query(rows::INSERT_FAILURE_RULE)
        .bind(rule.enabled)
        .bind(rule.carrier_id)
        .bind(&rule.status)
        .bind(&rule.reason_regex)
        .bind(&rule.header_name)
        .bind(&rule.header_regex)
        .bind(rule.q850_cause)
        .bind(&rule.origin)
        .bind(&rule.stage)
        .bind(&rule.class)
        .bind(&rule.action)
        .bind(rule.weight)
        .execute(connection)
        .await?;
    Ok(())
}

/// Replaces what the node complains about.
pub(super) async fn report(
    connection: &mut PgConnection,
    node: &str,
    complaints: &[(Severity, Refusal)],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query("delete from config_errors where node = $1")
        .bind(node)
        .execute(&mut *transaction)
        .await?;
    let each = |of: fn(&Refusal) -> &str| complaints.iter().map(|it| of(&it.1)).collect::<Vec<_>>();
    let severities = complaints.iter().map(|it| it.0.as_str()).collect::<Vec<_>>();
    sqlx::query(
        "insert into config_errors (node, table_name, row_key, column_name, reason, \
           severity) \
         select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])",
    )
    .bind(node)
    .bind(each(|refusal| refusal.table))
    .bind(each(|refusal| &refusal.row))
    .bind(each(|refusal| refusal.column))
    .bind(each(|refusal| &refusal.reason))
    .bind(severities)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
