// Reads a SQLite database as Metabase does: the same driver, the same calls. One command a line on standard input, one
// line of JSON for each on standard output:
//
//   test         can-connect?: clojure.java.jdbc's query, which takes `read-only?` for an option of its own
//   columns      the columns of all tables and views, as schema sync asks for them
//   kept SQL     on one connection that stays open, as those of Metabase's pool do
//   fresh SQL    on a connection of its own
//
// Arguments: the database, then the other details of the connection as name=value: its properties.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.JDBCType;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Types;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

public class Probe {
    private final String url;
    private final Properties properties = new Properties();
    private Connection kept;

    private Probe(String[] arguments) {
        url = "jdbc:sqlite:" + arguments[0];
        for (int i = 1; i < arguments.length; i++) {
            String[] property = arguments[i].split("=", 2);
            properties.setProperty(property[0], property[1]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Probe probe = new Probe(arguments);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] command = line.split(" ", 2);
            String answer;
            try {
                answer = probe.answer(command[0], command.length > 1 ? command[1] : "");
            } catch (SQLException error) {
                answer = "{\"error\":" + json(error.getMessage()) + "}";
            }
            System.out.println(answer);
        }
    }

    private String answer(String command, String sql) throws SQLException {
        if (command.equals("kept")) {
            if (kept == null) {
                kept = connect();
            }
            return run(kept, sql);
        }
        try (Connection fresh = connect()) {
            switch (command) {
                case "test":
                    if (properties.containsKey("read-only?")) {
                        fresh.setReadOnly(Boolean.parseBoolean(properties.getProperty("read-only?")));
                    }
                    return run(fresh, "SELECT 1");
                case "columns":
                    return columns(fresh);
                default:
                    return run(fresh, sql);
            }
        }
    }

    private Connection connect() throws SQLException {
        return DriverManager.getConnection(url, properties);
    }

    private static String columns(Connection connection) throws SQLException {
        List<String> found = new ArrayList<>();
        try (ResultSet tables =
                connection.getMetaData().getTables(null, null, "%", new String[] {"TABLE", "VIEW"})) {
            while (tables.next()) {
                String table = tables.getString("TABLE_NAME");
                try (ResultSet columns = connection.getMetaData().getColumns(null, null, table, null)) {
                    while (columns.next()) {
                        String name = columns.getString("COLUMN_NAME");
                        String type = columns.getString("TYPE_NAME");
                        found.add("[" + json(table) + "," + json(name) + "," + json(type) + "]");
                    }
                }
            }
        }
        return "[" + String.join(",", found) + "]";
    }

    private static String run(Connection connection, String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(
                sql, ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY, ResultSet.CLOSE_CURSORS_AT_COMMIT)) {
            if (!statement.execute()) {
                return "{\"updated\":" + statement.getUpdateCount() + "}";
            }
            try (ResultSet rows = statement.getResultSet()) {
                return rows(rows);
            }
        }
    }

    private static String rows(ResultSet rows) throws SQLException {
        ResultSetMetaData metadata = rows.getMetaData();
        int count = metadata.getColumnCount();
        List<String> types = new ArrayList<>();
        List<String> found = new ArrayList<>();
        while (rows.next()) {
            List<String> row = new ArrayList<>();
            for (int column = 1; column <= count; column++) {
                // The driver knows the type of an expression only while it is on a row.
                int type = metadata.getColumnType(column);
                if (found.isEmpty()) {
                    types.add(json(JDBCType.valueOf(type).getName()));
                }
                row.add(value(rows, column, type));
            }
            found.add("[" + String.join(",", row) + "]");
        }
        return "{\"types\":[" + String.join(",", types) + "],\"rows\":[" + String.join(",", found) + "]}";
    }

    private static String value(ResultSet rows, int column, int type) throws SQLException {
        Object value = rows.getObject(column);
        boolean isTime = type == Types.DATE || type == Types.TIMESTAMP;
        if (isTime && value instanceof String) {
            // Metabase parses the text itself: one without an offset is a local time. This throws for any other.
            LocalDateTime.parse(((String) value).replace(' ', 'T'));
        }
        return value == null || value instanceof Number ? String.valueOf(value) : json(value.toString());
    }

    private static String json(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c < ' ' || c == '"' || c == '\\') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
