#!/bin/sh
# Starts the broker of docker-compose.yml. With HIVE_USER and HIVE_PSWD it lets in nobody else; without them, everybody
# who reaches it. Where mosquitto.conf has a password_file of its own, that one decides.
# CONFIG: mosquitto.conf. XDG_CONFIG_HOME: a folder that ends with the container.
set -eu
umask 077
config=${CONFIG:-/mosquitto/config/mosquitto.conf}
state=$XDG_CONFIG_HOME

cp "$config" "$state/mosquitto.conf"
if [ -n "${HIVE_USER:-}" ]; then
  # mosquitto_sub and mosquitto_pub read these by themselves: the health check, and `docker compose exec broker …`.
  for client in mosquitto_sub mosquitto_pub; do
    printf -- '-u %s\n-P %s\n' "$HIVE_USER" "${HIVE_PSWD:?missing, while HIVE_USER is set}" >"$state/$client"
  done
fi
if grep -q '^[[:space:]]*password_file' "$config"; then
  :
elif [ -n "${HIVE_USER:-}" ]; then
  mosquitto_passwd -b -c "$state/passwords" "$HIVE_USER" "$HIVE_PSWD"
  # mosquitto gives up root before it reads the file.
  if [ "$(id -u)" = 0 ]; then chown mosquitto "$state/passwords" "$state/mosquitto.conf"; fi
  printf '\nallow_anonymous false\npassword_file %s\n' "$state/passwords" >>"$state/mosquitto.conf"
else
  printf '\nallow_anonymous true\n' >>"$state/mosquitto.conf"
fi
exec mosquitto -c "$state/mosquitto.conf"
