#!/bin/sh
# Simulated sensors: random walks, published until stopped. Runs in any image with mosquitto_pub and awk.
# BROKER, PORT: the broker (default: broker, 1883). INTERVAL: seconds between two readings of a sensor (default: 1).
# HIVE_USER, HIVE_PSWD: its user and password, if it asks. XDG_CONFIG_HOME: a folder that ends with the container.
set -eu
broker=${BROKER:-broker}
port=${PORT:-1883}
interval=${INTERVAL:-1}
if [ -n "${HIVE_USER:-}" ]; then
  # mosquitto_pub reads it by itself; as arguments everybody on the machine could read them.
  (umask 077 && printf -- '-u %s\n-P %s\n' "$HIVE_USER" "$HIVE_PSWD" >"$XDG_CONFIG_HOME/mosquitto_pub")
fi

# sensor TOPIC FORMAT START STEP [START STEP]: a walk of at most STEP at a time, drawn back to START so that it never drifts off.
sensor() {
  while :; do
    awk -v topic="$1" -v format="$2" -v a="$3" -v da="$4" -v b="${5:-0}" -v db="${6:-0}" -v interval="$interval" '
      function walk(value, home, step) { return value + (rand() * 2 - 1) * step + (home - value) * 0.02 }
      BEGIN {
        seed = srand() + srand() # the clock; the topic tells apart what starts in the same second
        for (i = 1; i <= length(topic); i++) seed = (seed * 31 + index("abcdefghijklmnopqrstuvwxyz", substr(topic, i, 1))) % 999983
        srand(seed)
        x = a; y = b
        do {
          printf format "\n", x, y
          fflush()
          x = walk(x, a, da); y = walk(y, b, db)
        } while (system("sleep " interval) == 0)
      }' | mosquitto_pub -h "$broker" -p "$port" -q 1 -t "$1" -l || true
    sleep 2 # the broker went away
  done
}

sensor casa/sala '{"temperatura":%.2f,"umidade":%.1f}' 23.5 0.15 55 0.6 &
sensor casa/cozinha '{"temperatura":%.2f,"umidade":%.1f}' 25.0 0.3 60 1.2 &
sensor estufa/1 '{"solo":{"umidade":%.1f},"luz":%.0f}' 41 0.4 18000 600 &
sensor fabrica/motor-1 '{"rpm":%.0f,"vibracao":%.3f,"ligado":true}' 1480 8 0.8 0.05 &
sensor casa/quadro/potencia '%.1f' 430 25 &
wait
