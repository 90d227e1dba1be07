//! The tables that charts read, with readings in them.

use harness::generate::projected;
use rusqlite::Connection;
use serde_json::json;

use super::{Bench, HOUR, MINUTE, Probe, Result, post};

/// Readings as the projector is to write them, without it: `21.5` and `22.5` in one minute, a text, and one an hour on.
const READINGS: &str = "
    insert into leituras (topico, campo, timestamp, dado_id, numero, texto) values
        ('casa', 'temperatura', '2026-11-23 02:59:00.000', 1, 21.5, null),
        ('casa', 'temperatura', '2026-11-23 02:59:59.999', 2, 22.5, null),
        ('casa', 'estado', '2026-11-23 02:59:59.999', 2, null, 'ligado'),
        ('casa', 'temperatura', '2026-11-23 03:00:00.000', 3, 30, null);
    insert into leituras_minuto (topico, campo, minuto, n, soma, minimo, maximo) values
        ('casa', 'temperatura', '2026-11-23 02:59:00', 2, 44, 21.5, 22.5),
        ('casa', 'temperatura', '2026-11-23 03:00:00', 1, 30, 30, 30);
    insert into leituras_hora (topico, campo, hora, n, soma, minimo, maximo) values
        ('casa', 'temperatura', '2026-11-23 02:00:00', 2, 44, 21.5, 22.5),
        ('casa', 'temperatura', '2026-11-23 03:00:00', 1, 30, 30, 30);
    insert into topicos (topico, ultimo_id, ultimo_valor, ultimo_numero, ultimo_timestamp, mensagens) values
        ('casa', 3, '30', 30, '2026-11-23 03:00:00.000', 3);
    insert into campos (topico, campo, ultimo_id, ultimo_numero, ultimo_texto, ultimo_timestamp, leituras) values
        ('casa', 'estado', 2, null, 'ligado', '2026-11-23 02:59:59.999', 1),
        ('casa', 'temperatura', 3, 30, null, '2026-11-23 03:00:00.000', 3);
";

/// With the API away: a projector would take these rows for its own.
#[tokio::test(flavor = "multi_thread")]
async fn readings_are_charted_by_minute_and_by_hour() -> Result {
    let Some(mut bench) = Bench::start("").await? else { return Ok(()) };
    assert!(bench.api.process()?.terminate()?.success());
    Connection::open(bench.api.database())?.execute_batch(READINGS)?;
    assert_readings(&mut bench.probe()?).await
}

/// The same from what is posted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_charted_by_minute_and_by_hour() -> Result {
    let Some(bench) = Bench::start("").await? else { return Ok(()) };
    let messages = json!([
        {"topico": "casa", "timestamp": "2026-11-23T02:59:00Z", "valor": {"temperatura": 21.5}},
        {"topico": "casa", "timestamp": "2026-11-22T23:59:59.999-03:00",
         "valor": {"temperatura": 22.5, "estado": "ligado"}},
        {"topico": "casa", "timestamp": "2026-11-23T03:00:00Z", "valor": {"temperatura": 30}},
    ]);
    post(&bench.api.url(), &messages).await?;
    projected(&bench.api.url(), true).await?;
    assert_readings(&mut bench.probe()?).await
}

/// More series of today than a chart may have, and one that has not been heard since yesterday.
const SERIES: &str = "
    with recursive number (n) as (select 1 union all select n + 1 from number where n < 120)
    insert into campos (topico, campo, ultimo_id, ultimo_numero, ultimo_timestamp, leituras)
        select 'casa/' || n, 'valor', n, n, '2026-11-23 03:00:00.000', 1 from number;
    insert into campos (topico, campo, ultimo_id, ultimo_numero, ultimo_timestamp, leituras) values
        ('adega', 'valor', 121, 9, '2026-11-22 23:00:00.000', 1);
    insert into campos (topico, campo, ultimo_id, ultimo_texto, ultimo_timestamp, leituras) values
        ('aviso', 'valor', 122, 'ligado', '2026-11-23 03:00:00.000', 1);
    insert into leituras_minuto (topico, campo, minuto, n, soma, minimo, maximo)
        select topico, campo, '2026-11-23 02:59:00', 2, ultimo_numero, 1, 1 from campos where ultimo_numero is not null;
";

/// The line chart's query as Metabase compiles it: `$` is the minute, and `@` a filter for topics.
const CHART: &str = r#"
    SELECT $ AS "leituras_minuto__minuto", "source"."topico" || ' · ' || "source"."campo" AS "serie",
        CAST(SUM("leituras_minuto"."soma") AS REAL) / NULLIF(CAST(SUM("leituras_minuto"."n") AS REAL), 0.0) AS "media"
    FROM (SELECT "campos"."topico" AS "topico", "campos"."campo" AS "campo" FROM "campos"
          WHERE "campos"."ultimo_numero" IS NOT NULL @
          ORDER BY DATE("campos"."ultimo_timestamp") DESC, "campos"."topico" ASC, "campos"."campo" ASC LIMIT 100)
         AS "source"
    INNER JOIN (SELECT "leituras_minuto"."topico" AS "topico", "leituras_minuto"."campo" AS "campo",
                       "leituras_minuto"."minuto" AS "minuto", "leituras_minuto"."n" AS "n",
                       "leituras_minuto"."soma" AS "soma" FROM "leituras_minuto") AS "leituras_minuto"
        ON ("source"."topico" = "leituras_minuto"."topico") AND ("source"."campo" = "leituras_minuto"."campo")
    WHERE "leituras_minuto"."minuto" >= DATETIME('2026-11-23 00:00:00')
    GROUP BY $, "source"."topico" || ' · ' || "source"."campo"
    ORDER BY $ DESC, "source"."topico" || ' · ' || "source"."campo" ASC"#;

/// Metabase shows an error instead of a chart with more series.
#[tokio::test(flavor = "multi_thread")]
async fn a_chart_has_a_hundred_series_and_the_filter_finds_every_other() -> Result {
    let Some(mut bench) = Bench::start("").await? else { return Ok(()) };
    assert!(bench.api.process()?.terminate()?.success());
    Connection::open(bench.api.database())?.execute_batch(SERIES)?;
    let mut probe = bench.probe()?;
    let chart = CHART.replace('$', &MINUTE.replace('$', r#""leituras_minuto"."minuto""#));
    let rows = probe.rows(&chart.replace('@', "")).await?;
    assert_eq!(rows.len(), 100);
    assert_eq!(rows[0], [json!("2026-11-23 02:59:00"), json!("casa/1 · valor"), json!(0.5)]);
    let chosen = chart.replace('@', r#"AND ("campos"."topico" = 'adega')"#);
    assert_eq!(probe.rows(&chosen).await?, [[json!("2026-11-23 02:59:00"), json!("adega · valor"), json!(4.5)]]);
    Ok(())
}

/// What Metabase reads of [`READINGS`], and as what.
async fn assert_readings(probe: &mut Probe) -> Result {
    let temperatures = "SELECT timestamp, numero FROM leituras WHERE campo = 'temperatura' ORDER BY timestamp ASC";
    let (types, rows) = probe.table(temperatures).await?;
    assert_eq!(types, ["DATE", "REAL"]);
    assert_eq!(
        rows,
        [
            [json!("2026-11-23 02:59:00.000"), json!(21.5)],
            [json!("2026-11-23 02:59:59.999"), json!(22.5)],
            [json!("2026-11-23 03:00:00.000"), json!(30.0)],
        ]
    );
    let average = "SELECT $, AVG(numero), COUNT(*) FROM leituras WHERE numero IS NOT NULL GROUP BY $ ORDER BY $ ASC";
    let by_minute =
        [[json!("2026-11-23 02:59:00"), json!(22.0), json!(2)], [json!("2026-11-23 03:00:00"), json!(30.0), json!(1)]];
    assert_eq!(probe.rows(&average.replace('$', &MINUTE.replace('$', "timestamp"))).await?, by_minute);

    let mean = "SELECT $, CAST(SUM(soma) AS REAL) / SUM(n), SUM(n) FROM @ GROUP BY $ ORDER BY $ ASC";
    let of_minutes = mean.replace('@', "leituras_minuto").replace('$', &MINUTE.replace('$', "minuto"));
    assert_eq!(probe.rows(&of_minutes).await?, by_minute);
    let by_hour =
        [[json!("2026-11-23 02:00:00"), json!(22.0), json!(2)], [json!("2026-11-23 03:00:00"), json!(30.0), json!(1)]];
    let of_hours = mean.replace('@', "leituras_hora").replace('$', &HOUR.replace('$', "hora"));
    assert_eq!(probe.rows(&of_hours).await?, by_hour);
    for (column, table) in [("minuto", "leituras_minuto"), ("hora", "leituras_hora")] {
        let sql = format!(
            "SELECT {column}, minimo, maximo FROM {table}
             WHERE {column} >= DATETIME('2026-11-23 03:00:00') AND {column} < DATETIME('2026-11-23 04:00:00')"
        );
        let (types, rows) = probe.table(&sql).await?;
        assert_eq!(types, ["DATE", "REAL", "REAL"]);
        assert_eq!(rows.len(), 1, "the hour's first is in it: {rows:?}");
        assert_eq!(rows[0][1..], [json!(30.0), json!(30.0)]);
    }

    let latest = "SELECT ultimo_timestamp, mensagens FROM topicos WHERE topico = 'casa'";
    assert_eq!(probe.table(latest).await?.0, ["DATE", "INTEGER"]);
    assert_eq!(probe.rows(latest).await?, [[json!("2026-11-23 03:00:00.000"), json!(3)]]);
    let latest = "SELECT ultimo_timestamp, ultimo_numero, ultimo_texto FROM campos ORDER BY campo";
    let of_fields = [
        [json!("2026-11-23 02:59:59.999"), json!(null), json!("ligado")],
        [json!("2026-11-23 03:00:00.000"), json!(30.0), json!(null)],
    ];
    assert_eq!(probe.rows(latest).await?, of_fields);
    Ok(())
}
